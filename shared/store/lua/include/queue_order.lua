-- Which job is the next for a gate: organisations that wait for it are served in turn, by weight; of each the next by priority,
-- the oldest first.
-- INCLUDE gate_states places queues policies

local SKIPS_MAX, EVERY_RANK = 16, {'-inf', '+inf'}
-- Jobs that wait for another gate to start, by gate: the next behind them is taken.
local skipped = {}

local function note_emptied(queue)
  if redis.call('EXISTS', throttled_by_prefix .. queue, throttled_prefix .. queue) > 0 then return end
  if gate(queue).empty ~= 1 then gate(queue).empty, gates_changed[queue] = 1, true end
end

-- Of 16 slots of an organisation three look for normal first and one for low.
local function rank_ranges(served)
  local slot = math.floor(served + 0.5) % 16
  local first = slot == 14 and 2 or slot % 4 == 2 and 1 or 0
  if first == 0 then return {EVERY_RANK} end
  return {{string.format('%.0f', first * RANK_WIDTH), string.format('(%.0f', (first + 1) * RANK_WIDTH)}, EVERY_RANK}
end

local function next_of(queue, organization, served, passed)
  for _, range in ipairs(rank_ranges(served)) do
    local found = redis.call('ZRANGEBYSCORE', queue_key(queue, organization), range[1], range[2], 'LIMIT', 0, passed.count + 1)
    for _, job in ipairs(found) do
      if not passed[job] then return job end
    end
    if range == EVERY_RANK and #found == 0 then redis.call('ZREM', throttled_by_prefix .. queue, organization) end
  end
end

local function next_in(queue, passed)
  local index = redis.call('ZRANGE', throttled_by_prefix .. queue, 0, passed.count, 'WITHSCORES')
  for i = 1, #index, 2 do
    local job = next_of(queue, index[i], tonumber(index[i + 1]) * weight_of(index[i]), passed)
    if job then return job, queue, index[i] end
  end
  note_emptied(queue)
end

-- The next job for a gate, its queue, and its organisation: from the gate's own queue and the fleet's in turn.
local function next_for(name)
  local passed = skipped[name] or {count = 0}
  skipped[name] = passed
  local order = {name}
  if in_chain[name] then order = gate(name).slot % 2 == 0 and {name, FLEET} or {FLEET, name} end
  for _, queue in ipairs(order) do
    if gate(queue).empty == 0 then
      local job, found_in, organization = next_in(queue, passed)
      if job then return job, found_in, organization end
    end
  end
end

-- An organisation was served once.
local function note_served(queue, organization)
  redis.call('ZINCRBY', throttled_by_prefix .. queue, 1 / weight_of(organization), organization)
end

local function skip(name, job)
  local passed = skipped[name]
  passed[job], passed.count = true, passed.count + 1
  return passed.count < SKIPS_MAX
end
