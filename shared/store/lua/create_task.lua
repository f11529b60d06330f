-- Accepts a task for the workers.
-- KEYS audit_trail tasks
-- PREFIX task control
-- ARGV id plan count kept tasks_max organization entry trail_length
-- organization: encoded; `*`: all. kept: how long its record stays, ms.
-- tasks_max: of all that are not done.
-- RETURNS OK, ALREADY, or FULL: too many tasks are not done
-- INCLUDE clock audit_trail

-- A write that cannot grow memory, so that failures can be handled on a full server.
redis.call('PERSIST', audit_trail)
if redis.call('ZCARD', tasks) >= tonumber(tasks_max) then return 'FULL' end
local task = task_prefix .. id
if redis.call('HSETNX', task, 'plan', plan) == 0 then return 'ALREADY' end
redis.call('HSET', task, 'state', 'running', 'count', count, 'done', 0, 'position', '')
redis.call('PEXPIRE', task, kept)
append_entry(organization, entry)
redis.call('ZADD', tasks, string.format('%.0f', now_ms()), id)
redis.call('PUBLISH', control_prefix .. 'tasks', id)
return 'OK'
