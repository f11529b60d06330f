-- Counts a new job, and puts it where it waits.
-- INCLUDE lease organizations policies backlog delaying places budget_refusal waiting_chains

-- The entry of the job that is being submitted, if it has one in the line; whether to wake a worker for a job, or to poll.
local made, wake_for_job, wake_to_poll, clock_us

-- Microseconds by the server's clock, one more for each job of this call.
local function next_us()
  if not clock_us then
    local time = redis.call('TIME')
    clock_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  clock_us = clock_us + 1
  return clock_us
end

local function quota_of(organization, name, default, most)
  local limit = limit_of(organization, name, default)
  return limit > 0 and limit or most
end

local function refusal_of(limit, quota) return string.format('%s %.0f', limit, quota) end

-- Counts a job first, then refuses it if that is one too many. The first of an organisation in a call is written, as the first
-- write; the others with the end of the call. Returns the refusal or nil, and whether an entry in the line is reserved.
local function count_in(organization, spec, delay, route, max_tokens)
  note_waiting(organization, 1, #spec, route)
  local room = delay == 0 and reserve_entry(organization, true)
  if policy_of(organization).paused == 1 then return 'paused', room end

  local state, most = counts_of(organization), quota_of(organization, 'queued', queued_max, WAITING_MAX)
  if state.waiting > most then return refusal_of('queuedJobs', most), room end
  most = quota_of(organization, 'kib', queued_kib_max, KIB_MAX)
  if state.kib > most then return refusal_of('queuedBytes', most * 1024), room end
  most = limit_of(organization, 'delayed', delayed_max)
  if delay > 0 and most > 0 and redis.call('ZCARD', delayed_prefix .. organization) >= most then
    return refusal_of('delayedJobs', most), room
  end
  local refusal = route ~= '' and chain_refusal(organization, route)
  if not refusal and has_budget(organization) then refusal = budget_refusal(organization, spec, route, max_tokens) end
  return refusal or nil, room
end

local function count_out(organization, bytes, room, route)
  note_waiting(organization, -1, bytes, route)
  if room then note(organization, 'placed', -1) end
end

-- By organisation: the first deadline (ms) that this call wrote to `backlogs`.
local first_deadlines = {}

local function wait_in_backlog(organization, job, place, deadline)
  local is_first = deadline < (first_deadlines[organization] or math.huge)
  local entry = add_to_backlog(organization, job, place, is_first and string.format('%d', deadline) or nil)
  if is_first then first_deadlines[organization] = deadline end
  return entry
end

local function enqueue(job, organization, queue, delay, deadline, room, fields)
  local created, entry, place
  if delay > 0 then
    local us = next_us()
    created, place = math.floor(us / 1000), place_at(queue, us)
    fields[#fields + 1], fields[#fields + 2] = 'due', string.format('%d', created + delay)
    entry = delay_job(organization, job, created + delay)
    wake_to_poll = wake_to_poll or delay <= tonumber(lease_ms)
  elseif room then
    entry = add_entry('q', job, organization)
    made = entry
    local ms, seq = string.match(entry, '^q(%d+)-(%d+)$')
    created, place = tonumber(ms), place_at(queue, tonumber(ms) * 1000 + math.min(tonumber(seq), 999))
    wake_for_job = true
  else
    local us = next_us()
    created, place = math.floor(us / 1000), place_at(queue, us)
    entry = wait_in_backlog(organization, job, place, created + deadline)
    wake_for_job = true
  end
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'created', string.format('%d', created),
    'deadline', string.format('%d', created + deadline), 'place', place, unpack(fields))
  return created
end

-- The job may be refused because one of these keys is damaged: each step is tried.
local function undo(job, organization)
  if made then redis.call('XDEL', line, string.sub(made, 2)) end
  redis.pcall('ZREM', backlog_prefix .. organization, job)
  redis.pcall('ZREM', delayed_prefix .. organization, job)
  redis.pcall('ZREM', deadlines, job)
  redis.pcall('DEL', job_prefix .. job)
end
