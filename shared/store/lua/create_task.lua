-- Accepts a task for the workers.
-- KEYS audit_trail tasks
-- PREFIX task task_channel
-- ARGV id plan count kept organization entry trail_length
-- organization: encoded; `*`: all. kept: how long its record stays, ms.
-- RETURNS OK, or ALREADY
-- INCLUDE clock audit_trail

-- A write that cannot grow memory, so that failures can be handled on a full server.
redis.call('PERSIST', audit_trail)
local task = task_prefix .. id
if redis.call('HSETNX', task, 'plan', plan) == 0 then return 'ALREADY' end
redis.call('HSET', task, 'state', 'running', 'count', count, 'done', 0, 'position', '')
redis.call('PEXPIRE', task, kept)
append_entry(organization, entry)
redis.call('ZADD', tasks, string.format('%.0f', now_ms()), id)
redis.call('PUBLISH', task_channel_prefix .. 'new', id)
return 'OK'
