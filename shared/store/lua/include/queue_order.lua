-- Finds the next job for a gate among all that wait for it: high before normal before low with the slots of
-- round_robin.lua, the oldest first.
-- INCLUDE gate_states throttling

local SKIPS_MAX, EVERY_RANK = 16, {'-inf', '+inf'}
-- By gate, jobs that wait for the slow start of an earlier gate of their chain: the next one behind them is taken.
local skipped = {}

local function note_emptied(queue)
  if gate(queue).empty ~= 1 then gate(queue).empty, gates_changed[queue] = 1, true end
end

local function first_in(queue, from, to, passed)
  local found = redis.call('ZRANGEBYSCORE', throttled_prefix .. queue, from, to, 'WITHSCORES', 'LIMIT', 0, passed.count + 1)
  for i = 1, #found, 2 do
    if not passed[found[i]] then return found[i], tonumber(found[i + 1]) end
  end
  if from == '-inf' and #found == 0 then note_emptied(queue) end
end

-- Returns the next job for a gate, and its queue: the gate's own or the fleet's. Of 16 slots three begin at normal and one
-- at low.
local function next_for(name)
  local passed = skipped[name] or {count = 0}
  skipped[name] = passed
  local slot = gate(name).slot % 16
  local first = slot == 14 and 2 or (slot == 2 or slot == 6 or slot == 10) and 1 or 0
  local own_rank = {string.format('%.0f', first * RANK_WIDTH), string.format('(%.0f', (first + 1) * RANK_WIDTH)}
  for _, range in ipairs(first > 0 and {own_rank, EVERY_RANK} or {EVERY_RANK}) do
    local best, best_score, best_queue
    for _, queue in ipairs(in_chain[name] and {name, FLEET} or {name}) do
      local job, score
      if gate(queue).empty == 0 then job, score = first_in(queue, range[1], range[2], passed) end
      if job and (not best or score < best_score) then best, best_score, best_queue = job, score, queue end
    end
    if best then return best, best_queue end
  end
end

local function skip(name, job)
  local passed = skipped[name]
  passed[job], passed.count = true, passed.count + 1
  return passed.count < SKIPS_MAX
end
