-- Moves jobs that an older release throttled to the queues of their gates. That release has one set for each chain of
-- gates, `lane:` and its names, which the hash of gates lists; while releases are mixed, such sets may come again.
-- INCLUDE gate_states throttling

local function move(job, names, score)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'route', 'spec', 'created', 'deadline')
  if f[1] == 'queued' and f[2] == 'p' .. names then
    local queues = (f[3] or names ~= chain) and names or FLEET
    -- Keeps the order of jobs of the same ms.
    local within = score % RANK_WIDTH - tonumber(f[5]) * 1000
    local token = within >= 0 and within < 1000 and string.format('n%s-%d', f[5], within) or ''
    local entry = throttle(job, queues, priority_of('a', f[4]), token, f[5], f[6], 0)
    if entry ~= f[2] then redis.call('HSET', job_prefix .. job, 'entry', entry) end
  end
end

-- Returns how many jobs it processed. A set that cannot be read is left to the audit.
local function move_chain_set(names, most)
  local ok, jobs = pcall(redis.call, 'ZRANGE', chain_set_prefix .. names, 0, most - 1, 'WITHSCORES')
  if not ok then jobs = {} end
  for i = 1, #jobs, 2 do
    pcall(move, jobs[i], names, tonumber(jobs[i + 1]))
    redis.call('ZREM', chain_set_prefix .. names, jobs[i])
  end
  if #jobs < 2 * most then redis.call('HDEL', gates, '@' .. names) end
  return #jobs / 2
end
