-- Gives a worker the lease of a task that no other one holds: the one that waits longest.
-- KEYS tasks
-- PREFIX task
-- ARGV holder lease_ms kept
-- RETURNS {id, plan, state, count, done, position, receipt, prompts_gone, jobs, keys, entries}, or nothing
-- INCLUDE now

-- A write that cannot grow memory.
redis.call('PERSIST', tasks)
local id = redis.call('ZRANGEBYSCORE', tasks, '-inf', string.format('%.0f', now), 'LIMIT', 0, 1)[1]
if not id then return {} end
local task = task_prefix .. id
redis.call('ZADD', tasks, string.format('%.0f', now + tonumber(lease_ms)), id)
redis.call('HSET', task, 'holder', holder)
redis.call('PEXPIRE', task, kept)
local f = redis.call('HMGET', task, 'plan', 'state', 'count', 'done', 'position', 'receipt', 'prompts_gone',
  'jobs', 'keys', 'entries')
return {id, f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9], f[10]}
