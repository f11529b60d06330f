-- Refuses the submits of one user of an organisation from now on, or takes them again.
-- KEYS audit_trail organizations policies tenants
-- PREFIX settings blocked_users
-- ARGV organization user blocked users_max entry trail_length
-- blocked: 1, or 0: no longer. users_max: of one organisation.
-- RETURNS OK, or FULL: too many are blocked
-- INCLUDE policy_record audit_trail

-- A write that cannot grow memory, so that it works on a full server.
redis.call('PERSIST', audit_trail)
local users, record = blocked_users_prefix .. organization, settings_prefix .. organization
local changed
if blocked == '1' then
  if redis.call('SISMEMBER', users, user) == 0 and redis.call('SCARD', users) >= tonumber(users_max) then return 'FULL' end
  changed = redis.call('SADD', users, user)
else
  changed = redis.call('SREM', users, user)
end
if changed == 0 then return 'OK' end

local count = redis.call('SCARD', users)
if count > 0 then redis.call('HSET', record, 'blocked_users', count) else redis.call('HDEL', record, 'blocked_users') end
write_policy(organization, redis.call('HGETALL', record))
redis.call('SADD', tenants, organization)
append_entry(organization, entry)
return 'OK'
