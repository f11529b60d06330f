-- Renews a worker's lease of a task and notes its progress, or its end.
-- KEYS tasks audit_trail
-- PREFIX task
-- ARGV id holder position over receipt plan entry prompts_gone lease_ms kept trail_length
-- over: 1 when all of it is done. receipt: JSON, or empty. kept: how long its record stays from then on, ms.
-- plan: replaces the order, or empty. entry: of its end, for the audit trail, or empty. prompts_gone: jobs since the last
-- call that have no prompt any more.
-- RETURNS OK, or LOST: another worker has it
-- INCLUDE now audit_trail

-- A write that cannot grow memory.
redis.call('PERSIST', tasks)
local task = task_prefix .. id
if redis.call('HGET', task, 'holder') ~= holder then return 'LOST' end
if prompts_gone ~= '0' then redis.call('HINCRBY', task, 'prompts_gone', prompts_gone) end
if plan ~= '' then redis.call('HSET', task, 'plan', plan) end
if over == '1' then
  redis.call('HSET', task, 'state', 'done', 'receipt', receipt)
  redis.call('ZREM', tasks, id)
  redis.call('PEXPIRE', task, kept)
  if entry ~= '' then append_entry('*', entry) end
else
  redis.call('HSET', task, 'position', position)
  redis.call('ZADD', tasks, 'XX', string.format('%.0f', now + tonumber(lease_ms)), id)
end
return 'OK'
