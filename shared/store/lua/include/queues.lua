-- Throttled jobs wait in the queue of each gate of their chain, those that name no chain in the fleet's. The entry of such
-- a job is `p` and the names of its queues. `throttled_deadlines` has all of them by deadline.

-- Removes a job from the queues that `names` lists. Jobs of an older release wait in one set for the whole chain.
local function leave_queues(job, names)
  local found = 0
  for name in string.gmatch(names, '%S+') do found = found + redis.call('ZREM', throttled_prefix .. name, job) end
  if found == 0 then redis.call('ZREM', chain_set_prefix .. names, job) end
  redis.call('ZREM', throttled_deadlines, job)
end
