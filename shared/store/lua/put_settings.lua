-- Changes what operators settled for one organisation.
-- KEYS audit_trail tenants
-- PREFIX settings
-- ARGV organization given gone entry trail_length
-- given: a JSON array of fields and values; gone: a JSON array of fields that go back to the fleet's defaults.
-- RETURNS the whole record: fields and values
-- INCLUDE audit_trail

-- A write that cannot grow memory, so that an organisation can be paused on a full server.
redis.call('PERSIST', audit_trail)
local record = settings_prefix .. organization
local fields, names = cjson.decode(given), cjson.decode(gone)
if #names > 0 then redis.call('HDEL', record, unpack(names)) end
if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
redis.call('SADD', tenants, organization)
append_entry(organization, entry)
return redis.call('HGETALL', record)
