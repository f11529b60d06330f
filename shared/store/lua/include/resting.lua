-- An organisation that has used its tokens a minute at a gate rests in the queues of that gate: it is behind all that may use
-- the gate, whatever waits of it, until its tokens are paid (token_clocks.lua).
-- INCLUDE now gate_states own_gates queues serving asking queue_order throttling

-- How many rests one call ends in a queue.
local ENDED_MAX = 64

local function end_rests(queue)
  local state, index = gate(queue), throttled_by_prefix .. queue
  if state.rested_at == 0 or state.rested_at > now then return end
  local over = redis.call('ZRANGEBYSCORE', index, RESTS, string.format('%.0f', RESTS + now), 'LIMIT', 0, ENDED_MAX)
  for _, organization in ipairs(over) do redis.call('ZADD', index, 'XX', score_beside(index), organization) end
  note_first_rest(queue)
  if #over == 0 then return end
  state.empty = 0
  if queue ~= FLEET then return poll_in(queue, 0) end
  for name in pairs(in_chain) do poll_in(name, 0) end
end

-- Has an organisation rest in the queues of a gate, where no other gate takes its jobs before: there it is passed over in this
-- call. Returns whether to ask the gate again.
local function rest_or_skip(name, organization, need)
  local rests = true
  for _, queue in ipairs(queues_of(name)) do
    local taken_elsewhere, wait
    if queue == FLEET then taken_elsewhere, wait = ask_chain(chain, organization, need) end
    local ends_at = not taken_elsewhere and rest_of(queue, organization, wait)
    if ends_at then rest_in(queue, organization, ends_at) else rests = false end
  end
  return rests or skip(name, organization)
end
