-- Orders a worker to drain, or takes the order back. It is kept: a worker that missed the notification finds it.
-- KEYS workers audit_trail
-- PREFIX control
-- ARGV consumer drain organization entry trail_length
-- drain: 1, or 0 to resume. organization: to which the entry of the audit trail belongs.
-- RETURNS OK, ALREADY when that was its order before, MISSING: no such worker
-- INCLUDE audit_trail

local order = '!' .. consumer
if redis.call('HEXISTS', workers, consumer) == 0 then return 'MISSING' end
if tostring(redis.call('HEXISTS', workers, order)) == drain then return 'ALREADY' end
-- A write that cannot grow memory first, so that a worker can be drained on a full server.
redis.call('PERSIST', workers)
if drain == '1' then
  redis.call('HSET', workers, order, '1')
else
  redis.call('HDEL', workers, order)
end
append_entry(organization, entry)
-- No job has such an id.
redis.call('PUBLISH', control_prefix .. consumer, '!')
return 'OK'
