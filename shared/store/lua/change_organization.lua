-- Changes the settings of one organisation, and lets it in again if it may run now.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger audit_trail tenants
-- PREFIX job backlog settings
-- ARGV organization given gone entry trail_length running_max
-- given: a JSON array of fields and values; gone: a JSON array of fields that go back to the fleet's defaults.
-- RETURNS the whole record: fields and values
-- INCLUDE organizations backlog audit_trail policy_record

local function write_record()
  local record, fields, names = settings_prefix .. organization, cjson.decode(given), cjson.decode(gone)
  if #names > 0 then redis.call('HDEL', record, unpack(names)) end
  if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
  redis.call('SADD', tenants, organization)
  append_entry(organization, entry)
  return redis.call('HGETALL', record)
end

-- A write that cannot grow memory first, so that an organisation can be paused on a full server.
redis.call('PERSIST', wake)
local record = write_record()
write_policy(organization, record)
redis.call('ZREM', held_organizations, organization)
if refill(organization) then redis.call('ZADD', wake, 0, 'job') end
save(organization)
return record
