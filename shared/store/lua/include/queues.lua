-- Throttled jobs wait in the queue of each gate of their chain, those that name no chain in the fleet's, and there by
-- organisation. `throttled_by` has the organisations of a queue by what they were served: the first is the next. The entry
-- of such a job is `t` and the names of its queues. `throttled_deadlines` has all of them by deadline.
-- In an older release (entry `p`) the jobs of all organisations are in one set for each gate, or for each chain.

-- Scores from here on are those of organisations that rest (resting.lua): RESTS and the end of the rest in ms.
local RESTS = 1e15

local function queue_key(queue, organization) return throttled_prefix .. queue .. ' ' .. organization end

-- The score of one that is served next to the others, neither before nor long after them.
local function score_beside(index)
  local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2] or 0
  return tonumber(first) < RESTS and first or 0
end

-- rests_until: ms until which its organisation rests in this queue, or nil.
local function join_queue(queue, organization, place, job, rests_until)
  redis.call('ZADD', queue_key(queue, organization), place, job)
  local index = throttled_by_prefix .. queue
  local score = redis.call('ZSCORE', index, organization)
  if score and (rests_until or tonumber(score) < RESTS) then return end
  redis.call('ZADD', index, rests_until and string.format('%.0f', RESTS + rests_until) or score_beside(index), organization)
end

local function leave_queue(queue, organization, job)
  local found = redis.call('ZREM', queue_key(queue, organization), job)
  if redis.call('EXISTS', queue_key(queue, organization)) == 0 then
    redis.call('ZREM', throttled_by_prefix .. queue, organization)
  end
  return found
end

-- Removes a job from the queues that `names` lists.
local function leave_queues(job, organization, names)
  local found = 0
  for name in string.gmatch(names, '%S+') do found = found + leave_queue(name, organization, job) end
  if found == 0 then
    for name in string.gmatch(names, '%S+') do found = found + redis.call('ZREM', throttled_prefix .. name, job) end
  end
  if found == 0 then redis.call('ZREM', chain_set_prefix .. names, job) end
  redis.call('ZREM', throttled_deadlines, job)
end

local function is_only_one(queue, organization)
  return redis.call('ZCARD', queue_key(queue, organization)) == 1 and redis.call('ZCARD', throttled_by_prefix .. queue) == 1
end
