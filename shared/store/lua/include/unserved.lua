-- Moves or ends jobs that wait for gates which no worker has: the release that had them is gone, or has not come yet. Each
-- pass reads the gates of the whole fleet, which are few, in a bounded number of steps.
-- INCLUDE release now gate_states own_gates settled serving queues throttling overdue leaving

local PASS_STEPS, PASS_FIELDS = 8, 256
local NOT_SERVED = 'no worker has this provider and model'

-- Reads every field of the hash: gates into gate_states; `queue` is called with the chain of each set of an older release.
local function read_fleet(queue)
  local cursor = '0'
  for _ = 1, PASS_STEPS do
    local page = redis.call('HSCAN', gates, cursor, 'COUNT', PASS_FIELDS)
    for i = 1, #page[2], 2 do
      local name = page[2][i]
      if string.sub(name, 1, 1) == '@' then
        if name ~= FLEET_FIELD and name ~= PROMISED then queue(string.sub(name, 2)) end
      elseif name ~= SETTLED and not gate_states[name] then
        parse_gate(name, page[2][i + 1])
      end
    end
    cursor = page[1]
    if cursor == '0' then return end
  end
end

local function served(name) return has_gate(name) or gate(name).served_until > now end

-- A job whose own chain has another served gate waits for that; one that names no chain uses the present one; others end.
local function take_off(job, name, organization)
  local f = read_throttled(job)
  -- Left to a worker of the release that knows it.
  if foreign(f.v, f.state) then return end
  local letter, names = string.match(f.entry or '', '^(t)(.+)$')
  local others = {}
  leave_queue(name, organization, job)
  if f.state ~= 'queued' or not names then return end
  for other in string.gmatch(names, '%S+') do
    if other ~= name and served(other) then others[#others + 1] = other end
  end
  if #others > 0 then return redis.call('HSET', job_prefix .. job, 'entry', letter .. table.concat(others, ' ')) end
  if not f.route then return let_go(job, f) end
  end_unrun(job, f.org, f.lost, NOT_HERE, NOT_SERVED)
  leave_place(job, f.entry, f.org, f.route)
end

local function take_all_off(name, most)
  local met = 0
  for _, organization in ipairs(redis.call('ZRANGE', throttled_by_prefix .. name, 0, most - 1)) do
    local jobs = met < most and redis.call('ZRANGE', queue_key(name, organization), 0, most - met - 1) or {}
    if #jobs == 0 and met < most then redis.call('ZREM', throttled_by_prefix .. name, organization) end
    for _, job in ipairs(jobs) do
      if not pcall(take_off, job, name, organization) then leave_queue(name, organization, job) end
      met = met + 1
    end
  end
  local state, left = gate(name), redis.call('EXISTS', throttled_by_prefix .. name)
  local more = left == 1 and met > 0
  state.empty, gates_changed[name] = 1 - left, true
  state.served_until = more and now or left == 1 and now + SERVED_MS or 0
  return met, more
end

-- Returns whether jobs were moved or ended, and ms until the caller must check again (-1: no job waits for such a gate).
local function empty_unserved(most)
  local soonest, met, waiting = -1, 0, {}
  local function sooner(wait) soonest = soonest < 0 and wait or math.min(soonest, wait) end
  for name, state in pairs(gate_states) do
    if name ~= FLEET and (state.empty == 0 or state.rested_at > 0) and not has_gate(name) then waiting[#waiting + 1] = name end
  end
  for _, name in ipairs(waiting) do
    local state = gate(name)
    if state.served_until > now then
      sooner(state.served_until - now)
    elseif now - state.served_until > SERVED_MS then
      -- No check for so long: the whole fleet may have been down, and its workers get time to come back.
      state.served_until, gates_changed[name] = now + SERVED_MS, true
      sooner(SERVED_MS)
    elseif met < most then
      local count, more = take_all_off(name, most - met)
      met = met + count
      if more then sooner(0) end
    else
      sooner(0)
    end
  end
  return met > 0, soonest
end
