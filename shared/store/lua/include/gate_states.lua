-- Reads and writes the states of gates, one per provider and model, all in one hash. A script reads those that its caller's
-- worker has, and any other one by its name, so that a fleet with many gates costs nothing.
-- blocked_until: ms; why: 0 available, 1 the provider asked to wait, 2 too many failures in a row; failures,
-- blocks_in_a_row: counts; slow_start_from: when it became available (ms); used: ms; requests, tokens: when the reserved
-- share is used up (ms); probe: 1 while one call tests a failing provider (half-open). For its queue (throttling.lua):
-- poll_at: not before (ms); slot: its place in the 16 round-robin slots; empty: 1 when no job is in it but of organisations that
-- rest; served_until: ms,
-- as far as live workers are known to have it. Of organisations (gate_users.lua), NOBODY or a name:
-- failed_by: whose job failed last; failed_two: 1 when one of another failed in the same row; user and other: two that used
-- it lately, and when (ms); lent_to, lent: who owes how much of `tokens` (ms). rested_at: when the first rest in its queue ends (ms;
-- resting.lua), 0: none rests. They are stored in this order, rested_at behind the names.
-- INCLUDE now settled own_gates

local GATE_FIELDS = {'blocked_until', 'why', 'failures', 'blocks_in_a_row', 'slow_start_from', 'used', 'requests',
  'tokens', 'probe', 'poll_at', 'slot', 'empty', 'served_until', 'failed_two', 'user_at', 'other_at', 'lent'}
local GATE_NAMES, NOBODY = {'failed_by', 'user', 'other', 'lent_to'}, '*'
-- The queue of jobs that name no chain. Fields of the hash that are no gates: the state of that queue, and when a worker
-- polls the queues.
local FLEET, FLEET_FIELD, PROMISED = '*', '@*', '@'
local gate_states, gates_changed, promised = {}, {}, 0

local function parse_gate(name, text)
  local state, values = {}, string.gmatch(text or '', '%S+')
  for _, field in ipairs(GATE_FIELDS) do state[field] = tonumber(values() or 0) or 0 end
  for _, field in ipairs(GATE_NAMES) do state[field] = values() or NOBODY end
  state.rested_at = tonumber(values() or 0) or 0
  gate_states[name] = state
  return state
end

-- Damage here may lose the states of gates, never a claim.
local function gate(name)
  if gate_states[name] then return gate_states[name] end
  local text = redis.pcall('HGET', gates, name == FLEET and FLEET_FIELD or name)
  return parse_gate(name, type(text) == 'string' and text)
end

local function load_all()
  local flat = redis.pcall('HGETALL', gates)
  for i = 1, #flat, 2 do
    local name = flat[i] == FLEET_FIELD and FLEET or flat[i]
    if name == SETTLED then
      note_settled(flat[i + 1])
    elseif string.sub(name, 1, 1) ~= '@' then
      parse_gate(name, flat[i + 1])
      note_own(name)
    end
  end
  note_limits()
end

local function load_gates()
  if has_all then return load_all() end
  local found = redis.pcall('HMGET', gates, PROMISED, FLEET_FIELD, SETTLED, unpack(own_gates))
  local ms, whose = string.match(found[1] or '', '^(%d+) ?(.*)$')
  promised = whose == same_gates and tonumber(ms) or 0
  parse_gate(FLEET, found[2])
  note_settled(found[3])
  note_limits()
  for i, name in ipairs(own_gates) do parse_gate(name, found[i + 3]) end
end

local function save_gates()
  for name in pairs(gates_changed) do
    local values = {}
    for i, field in ipairs(GATE_FIELDS) do values[i] = string.format('%.0f', gate(name)[field]) end
    for _, field in ipairs(GATE_NAMES) do values[#values + 1] = gate(name)[field] end
    values[#values + 1] = string.format('%.0f', gate(name).rested_at)
    gates_changed[name] = table.concat(values, ' ')
  end
  local command = {}
  for name, text in pairs(gates_changed) do
    command[#command + 1], command[#command + 2] = name == FLEET and FLEET_FIELD or name, text
  end
  gates_changed = {}
  for first = 1, #command, 200 do
    redis.pcall('HSET', gates, unpack(command, first, math.min(first + 199, #command)))
  end
end

-- Of the workers with the same gates one polls their queues, not all: returns `wait` (ms) to the caller that must poll, -1
-- when another one will by then. If that one dies, the others poll once a lease.
local function promise(wait)
  if wait <= 0 or (promised > now and promised <= now + wait) then return -1 end
  promised = now + wait
  redis.pcall('HSET', gates, PROMISED, string.format('%.0f %s', promised, same_gates))
  return wait
end
