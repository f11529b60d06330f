-- Finds the next job for a gate: organisations that wait for it are served in turn, by weight; each one's next is chosen by
-- priority, the oldest first.
-- INCLUDE gate_states own_gates places queues policies serving

local SKIPS_MAX, EVERY_RANK = 16, {'-inf', '+inf'}
-- By gate, jobs that wait for the slow start of an earlier gate of their chain, and organisations whose jobs another gate takes
-- before: the next one behind them is taken.
local skipped = {}

-- Of 16 slots of an organisation three look for normal first and one for low.
local function rank_ranges(served)
  local slot = math.floor(served + 0.5) % 16
  local first = slot == 14 and 2 or slot % 4 == 2 and 1 or 0
  if first == 0 then return {EVERY_RANK} end
  return {{string.format('%.0f', first * RANK_WIDTH), string.format('(%.0f', (first + 1) * RANK_WIDTH)}, EVERY_RANK}
end

-- Returns an organisation's next job in any of these queues, and its queue.
local function next_of(organization, queues, served, passed)
  for _, range in ipairs(rank_ranges(served)) do
    local next_job, next_queue, lowest
    for _, queue in ipairs(queues) do
      local found = redis.call('ZRANGEBYSCORE', queue_key(queue, organization), range[1], range[2], 'WITHSCORES',
        'LIMIT', 0, passed.count + 1)
      local i = 1
      while found[i] and passed[found[i]] do i = i + 2 end
      local place = tonumber(found[i + 1])
      if place and (not lowest or place < lowest) then next_job, next_queue, lowest = found[i], queue, place end
      if range == EVERY_RANK and #found == 0 then redis.call('ZREM', throttled_by_prefix .. queue, organization) end
    end
    if next_job then return next_job, next_queue end
  end
end

-- The organisation is chosen in one of the queues, and its next job in all of them. Its slot is that of the first queue.
-- avoided: an organisation, or nil.
local function next_in(queue, queues, passed, avoided)
  local most = passed.count + (avoided and 1 or 0)
  local index = redis.call('ZRANGE', throttled_by_prefix .. queue, 0, most, 'WITHSCORES')
  for i = 1, #index, 2 do
    local organization, served = index[i], index[i + 1]
    if tonumber(served) >= RESTS then break end
    if queue ~= queues[1] then
      served = redis.call('ZSCORE', throttled_by_prefix .. queues[1], organization) or served
    end
    local job, found_in
    if organization ~= avoided and not passed[organization] then
      job, found_in = next_of(organization, queues, tonumber(served) * weight_of(organization), passed)
    end
    if job then return job, found_in, organization end
  end
  note_emptied(queue)
end

-- Whether the fleet's queue is next: of 16 slots of the gate each queue has as many as its part of the organisations.
local function is_turn_of_fleet(name)
  local others = redis.call('ZCARD', throttled_by_prefix .. FLEET)
  local part = others / math.max(redis.call('ZCARD', throttled_by_prefix .. name) + others, 1)
  local slot = gate(name).slot
  return math.floor((slot + 1) * part) > math.floor(slot * part)
end

local function queues_of(name)
  local queues = {}
  if gate(name).empty == 0 then queues[1] = name end
  if in_chain[name] and gate(FLEET).empty == 0 then queues[#queues + 1] = FLEET end
  return queues
end

-- Returns the next job for a gate, its queue and its organisation, from the gate's own queue or the fleet's. avoided: an
-- organisation that others go before, or nil.
local function next_for(name, avoided)
  local passed, queues = skipped[name] or {count = 0}, queues_of(name)
  skipped[name] = passed
  local order = queues
  if #queues == 2 and is_turn_of_fleet(name) then order = {queues[2], queues[1]} end
  for _, queue in ipairs(order) do
    local job, found_in, organization = next_in(queue, queues, passed, avoided)
    if job then return job, found_in, organization end
  end
  if avoided then return next_for(name) end
end

-- Counts an organisation as served once, in each queue of the gate in which it waits. found_in: one of them.
local function note_served(name, found_in, organization)
  local step = string.format('%.17g', 1 / weight_of(organization))
  for _, queue in ipairs(queues_of(name)) do
    local index = throttled_by_prefix .. queue
    if queue == found_in or redis.call('ZSCORE', index, organization) then
      redis.call('ZINCRBY', index, step, organization)
    end
  end
end

local function skip(name, whom)
  local passed = skipped[name]
  passed[whom], passed.count = true, passed.count + 1
  return passed.count < SKIPS_MAX
end
