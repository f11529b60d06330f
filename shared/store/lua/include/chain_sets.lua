-- Jobs that the commit before throttled stand in one set for each chain of gates, `lane:` and its names, which the hash of
-- gates lists. They are moved into the queues of today as they are met; while releases are mixed, again and again.

local function move(job, names)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'route', 'spec', 'created', 'deadline')
  if f[1] == 'queued' and f[2] == 'p' .. names then
    local queues = (f[3] or names ~= chain) and names or FLEET
    local entry = throttle(job, queues, priority_of('a', f[4]), '', f[5], f[6], 0)
    if entry ~= f[2] then redis.call('HSET', job_prefix .. job, 'entry', entry) end
  end
end

-- Answers how many jobs were met. A set that cannot be read is left to the audit.
local function move_chain_set(names, most)
  local ok, jobs = pcall(redis.call, 'ZRANGE', lane_prefix .. names, 0, most - 1)
  if not ok then jobs = {} end
  for _, job in ipairs(jobs) do
    pcall(move, job, names)
    redis.call('ZREM', lane_prefix .. names, job)
  end
  if #jobs < most then redis.call('HDEL', gates, '@' .. names) end
  return #jobs
end
