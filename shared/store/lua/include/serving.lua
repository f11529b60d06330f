-- Knows which gates have jobs that wait, and which of them live workers have.
-- INCLUDE now gate_states own_gates gates queues

local NOT_HERE = 'ProviderNotConfigured'
-- How long (ms) a gate counts as served after a worker with it was active, and how long a job waits for such a worker.
local SERVED_MS = 2 * tonumber(lease_ms) + 2000

-- Whether jobs may wait for a gate of organisations that do not rest; false only when none does.
local function has_ready(name)
  return gate(name).empty == 0 or (in_chain[name] == true and gate(FLEET).empty == 0)
end

-- The same, of any organisation.
local function has_queue(name)
  return has_ready(name) or gate(name).rested_at > 0 or (in_chain[name] == true and gate(FLEET).rested_at > 0)
end

-- Returns ms until a job that waits for a gate may be released; nil: none waits.
local function queue_wait(name)
  if not has_queue(name) then return nil end
  local at = has_ready(name) and gate(name).poll_at or math.huge
  for _, queue in ipairs({name, in_chain[name] and FLEET or name}) do
    if gate(queue).rested_at > 0 then at = math.min(at, gate(queue).rested_at) end
  end
  return math.max(at - now, (wait_of(name, 0)))
end

-- Notes when the first rest in a queue ends.
local function note_first_rest(queue)
  local first = redis.call('ZRANGEBYSCORE', throttled_by_prefix .. queue, RESTS, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  gate(queue).rested_at, gates_changed[queue] = first[2] and tonumber(first[2]) - RESTS or 0, true
end

-- Notes that there is no job in a queue but of organisations that rest, if that is so.
local function note_emptied(queue)
  local index, old = throttled_by_prefix .. queue, throttled_prefix .. queue
  if redis.call('EXISTS', index, old) > 0 then
    note_first_rest(queue)
    local ready = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('(%.0f', RESTS), 'LIMIT', 0, 1)
    if #ready > 0 or redis.call('EXISTS', old) > 0 then return end
  end
  if gate(queue).empty ~= 1 then gate(queue).empty, gates_changed[queue] = 1, true end
end

-- Notes that the caller's worker has these gates, so that other workers leave jobs to it. Written every half of SERVED_MS:
-- for all gates when gates are saved in any case, else for those that jobs wait for.
local function mark_served(all)
  for _, name in ipairs(own_gates) do
    local state = gate(name)
    if (all or has_queue(name)) and state.served_until < now + SERVED_MS / 2 then
      state.served_until, gates_changed[name] = now + SERVED_MS, true
    end
  end
end

-- A worker that has a gate blocks on a key of that gate too: the common marker could wake a worker without the gate.
local function wake_for(name, member)
  if has_all then return redis.call('ZADD', wake, 0, 'job') end
  redis.call('ZADD', wake_prefix .. name, member == 'look' and -1 or 0, member)
  redis.call('PEXPIRE', wake_prefix .. name, 3600000)
end

-- Wakes workers for those of the caller's gates whose next job may be released.
local function wake_for_room()
  for _, name in ipairs(own_gates) do
    if (queue_wait(name) or 1) <= 0 then wake_for(name, 'job') end
  end
end

-- Has a gate polled in `wait` ms at the latest.
local function poll_in(name, wait)
  local state = gate(name)
  if state.poll_at > now + wait then state.poll_at, gates_changed[name] = now + wait, true end
end

local function note_rest(queue, ends_at)
  local state = gate(queue)
  if state.rested_at > 0 and state.rested_at <= ends_at then return end
  state.rested_at, gates_changed[queue] = ends_at, true
end

-- Has an organisation that waits in a queue rest there until `ends_at` (ms). only: `LT`: if it does, and would for longer.
local function rest_in(queue, organization, ends_at, only)
  local score, index = string.format('%.0f', RESTS + ends_at), throttled_by_prefix .. queue
  local changed = redis.call('ZADD', index, 'XX', 'CH', only or 'GT', score, organization)
  if changed == 1 then note_rest(queue, ends_at) end
end

-- Notes a job that has entered the queue of a gate. If the caller does not have that gate, workers that have it are woken;
-- for the first job there, the gate counts as served until one of them may have come. rests_until: as in join_queue.
local function expect_job(name, wait, organization, rests_until)
  local state = gate(name)
  if name ~= FLEET and not has_gate(name) then
    if state.served_until < now + SERVED_MS and is_only_one(name, organization) then
      state.served_until, gates_changed[name] = now + SERVED_MS, true
    end
    wake_for(name, 'look')
  end
  if rests_until then return note_rest(name, rests_until) end
  if state.empty ~= 0 or not gates_changed[name] then state.empty, gates_changed[name] = 0, true end
  poll_in(name, wait)
end
