-- Takes new jobs. The record's HSETNX makes a repeated submit harmless; a caller that never repeats one saves it.
-- KEYS line suspect isolated requeued high normal low wake deadlines organizations policies rank_slots backlogs held_organizations due ledger
-- PREFIX job idem index org job_channel organization_channel backlog delayed
-- ARGV lease_ms index_ttl index_length organization_events sent_once running_max queued_max queued_kib_max delayed_max
-- ITEM job organization spec queue delay deadline max_attempts route max_tokens idempotency fingerprint idempotency_ttl own_deadline
-- index_length: how many jobs of an organisation and day the listing remembers; 0: there is no listing.
-- route: the job's own chain of gates, max_tokens: of its answer; both empty when it asks for nothing special.
-- own_deadline: 1 when the caller set one: it is written down where it is met in time, wherever the job waits then.
-- RETURNS {code, job, state}: NEW, ALREADY (this id was taken before), SAME (an earlier job of this key), CONFLICT, or LIMIT with
--   that limit of the organisation which refuses it, or `paused`, in place of the state
-- INCLUDE batch lease clock announce organizations policies backlog delaying places

local wake_for_job, wake_to_poll, clock_us, made, place

-- Microseconds by the server's clock, one more for each job of this call.
local function next_us()
  if not clock_us then
    local time = redis.call('TIME')
    clock_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  clock_us = clock_us + 1
  return clock_us
end

-- Counted first, then refused if that is too many; answers the refusal, else whether there is room in the line.
local function count_in(organization, bytes, delay)
  note_waiting(organization, 1, bytes)
  local room = false
  if delay > 0 then save(organization) else room = reserve_entry(organization) end
  local state, most = counts_of(organization), limit_of(organization, 'queued', queued_max)
  if policy_of(organization).paused == 1 then return 'paused', room end
  if state.waiting > (most > 0 and most or WAITING_MAX) then return 'queuedJobs', room end
  most = limit_of(organization, 'kib', queued_kib_max)
  if state.kib > (most > 0 and most or KIB_MAX) then return 'queuedBytes', room end
  most = limit_of(organization, 'delayed', delayed_max)
  if delay > 0 and most > 0 and redis.call('ZCARD', delayed_prefix .. organization) >= most then return 'delayedJobs', room end
  return nil, room
end

local function count_out(organization, bytes, room)
  note_waiting(organization, -1, bytes)
  if room then note(organization, 'placed', -1) end
  save(organization)
end

local function enqueue(job, organization, queue, delay, deadline, room, fields)
  local created, entry
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
    entry = add_to_backlog(organization, job, place, string.format('%d', created + deadline))
    wake_for_job = true
  end
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'created', string.format('%d', created),
    'deadline', string.format('%d', created + deadline), 'place', place, unpack(fields))
  return created
end

local function undo(job, organization)
  if made then redis.call('XDEL', line, string.sub(made, 2)) end
  redis.call('ZREM', backlog_prefix .. organization, job)
  redis.call('ZREM', delayed_prefix .. organization, job)
  redis.call('ZREM', deadlines, job)
  redis.call('DEL', job_prefix .. job)
end

local function earlier(idempotency, fingerprint, job)
  local key = idem_prefix .. idempotency
  local prior = redis.call('GET', key)
  if not prior then return end
  local prior_job, prior_print = string.match(prior, '^(%S+) (%S*)$')
  local state = redis.call('HGET', job_prefix .. prior_job, 'state')
  if not state or prior_job == job then return end
  if prior_print ~= fingerprint then return {'CONFLICT', prior_job, state} end
  return {'SAME', prior_job, state}
end

local function list(organization, created, job)
  local index = index_prefix .. organization .. ':' .. string.format('%d', math.floor(created / 86400000))
  local length = redis.call('RPUSH', index, job)
  if length == 1 then redis.call('PEXPIRE', index, index_ttl) end
  if length > tonumber(index_length) then redis.call('LPOP', index) end
end

local replies = each_item(function(job, organization, spec, queue, delay, deadline, max_attempts, route, max_tokens,
                                   idempotency, fingerprint, idempotency_ttl, own_deadline)
  local record = job_prefix .. job
  made = nil
  if idempotency ~= '' then
    local answer = earlier(idempotency, fingerprint, job)
    if answer then return answer end
  end
  if sent_once ~= '1' and redis.call('HSETNX', record, 'v', 1) == 0 then
    return {'ALREADY', job, redis.call('HGET', record, 'state') or 'queued'}
  end
  local fields = {'v', 1, 'org', organization, 'state', 'queued', 'spec', spec, 'max_attempts', max_attempts}
  if route ~= '' then fields[#fields + 1], fields[#fields + 2] = 'route', route end
  if max_tokens ~= '' then fields[#fields + 1], fields[#fields + 2] = 'max_tokens', max_tokens end
  delay = tonumber(delay)
  local refusal, room = count_in(organization, #spec, delay)
  if refusal then
    count_out(organization, #spec, room)
    if sent_once ~= '1' then redis.call('DEL', record) end
    return {'LIMIT', job, refusal}
  end
  local ok, failure = pcall(function()
    local created = enqueue(job, organization, queue, delay, tonumber(deadline), room, fields)
    if own_deadline == '1' then redis.call('ZADD', deadlines, string.format('%d', created + deadline), job) end
    if tonumber(index_length) > 0 then list(organization, created, job) end
    if idempotency ~= '' then
      redis.call('SET', idem_prefix .. idempotency, job .. ' ' .. fingerprint, 'PX', idempotency_ttl)
    end
    if organization_events == '1' then announce(job, organization, '0-0.1', 'queued') end
  end)
  if not ok then
    undo(job, organization)
    count_out(organization, #spec, room)
    error(failure)
  end
  return {'NEW', job, 'queued'}
end)
save_counts()
if wake_to_poll then redis.call('ZADD', wake, -1, 'look') end
if wake_for_job then redis.call('ZADD', wake, 0, 'job') end
return replies
