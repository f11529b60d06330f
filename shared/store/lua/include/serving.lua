-- Which gates have a queue, and which of them live workers have.
-- INCLUDE now gate_states gates

local NOT_HERE = 'ProviderNotConfigured'
-- So long a worker counts as there after it was heard of, and a job waits for one that may come.
local SERVED_MS = 2 * tonumber(lease_ms) + 2000

-- Whether jobs may wait for a gate, as far as is known.
local function has_queue(name)
  return gate(name).empty == 0 or (in_chain[name] == true and gate(FLEET).empty == 0)
end

-- How long until a job that waits for a gate may go, in ms; nil: none waits.
local function queue_wait(name)
  return has_queue(name) and math.max(gate(name).poll_at - now, (wait_of(name, 0))) or nil
end

-- The caller's worker has these gates: others hand jobs to it. Written now and then, for all of them where something else
-- is written anyway, else for those that jobs wait for.
local function mark_served(all)
  for _, name in ipairs(own_gates) do
    local state = gate(name)
    if (all or has_queue(name)) and state.served_until < now + SERVED_MS / 2 then
      state.served_until, gates_changed[name] = now + SERVED_MS, true
    end
  end
end

-- A worker that has a gate sleeps on a key of that gate too: what wakes anybody may wake one that has it not.
local function wake_for(name, member)
  if has_all then return redis.call('ZADD', wake, 0, 'job') end
  redis.call('ZADD', wake_prefix .. name, member == 'look' and -1 or 0, member)
  redis.call('PEXPIRE', wake_prefix .. name, 3600000)
end

-- Wakes workers for those of the caller's gates whose next job may go.
local function wake_for_room()
  for _, name in ipairs(own_gates) do
    if (queue_wait(name) or 1) <= 0 then wake_for(name, 'job') end
  end
end

-- A gate is to be looked at in `wait` ms at the latest.
local function poll_in(name, wait)
  local state = gate(name)
  if state.poll_at > now + wait then state.poll_at, gates_changed[name] = now + wait, true end
end

-- A job has come into the queue of a gate. When the caller has not that gate, those who have are woken; the first job there
-- is waited for as long as a worker may take to come.
local function expect_job(name, wait)
  local state = gate(name)
  if name ~= FLEET and not has_gate(name) then
    if redis.call('ZCARD', throttled_prefix .. name) == 1 and state.served_until < now + SERVED_MS then
      state.served_until, gates_changed[name] = now + SERVED_MS, true
    end
    wake_for(name, 'look')
  end
  if state.empty ~= 0 or not gates_changed[name] then state.empty, gates_changed[name] = 0, true end
  poll_in(name, wait)
end
