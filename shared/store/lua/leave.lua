-- A worker that ends removes its consumers, where nothing is pending: deleting one drops its pending list for good.
-- It sets the wake-up markers again: one that it popped as it ended may have been meant for another worker.
-- KEYS line suspect isolated requeued high normal low wake suspects gates workers
-- PREFIX wake
-- ARGV consumer chain limits
-- RETURNS consumers deleted
-- INCLUDE lease

local deleted = 0
-- A write that cannot grow memory, so that a worker can leave a full server.
redis.call('PERSIST', wake)
for _, stream in pairs(streams) do
  if #redis.call('XPENDING', stream, GROUP, '-', '+', 1, consumer) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer)
    deleted = deleted + 1
  end
end
redis.call('HDEL', suspects, consumer)
redis.call('HDEL', workers, consumer, '!' .. consumer)
-- Another worker with the same gates must take over the poll that this one promised.
redis.call('HDEL', gates, '@')
redis.call('ZADD', wake, 0, 'job')
local names = {}
for name in string.gmatch(chain, '%S+') do names[name] = true end
for name in string.gmatch(limits, '(%S+) %d+ %d+') do names[name] = true end
for name in pairs(names) do
  redis.call('ZADD', wake_prefix .. name, 0, 'job')
  redis.call('PEXPIRE', wake_prefix .. name, 3600000)
end
return deleted
