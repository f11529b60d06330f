-- Makes an API key. One that takes the place of another ends that one after an overlap.
-- KEYS audit_trail tenants
-- PREFIX key org_keys key_channel
-- ARGV id organization record expires keys_max kept replaced overlap owner entry trail_length
-- record: a JSON array of fields and values. expires: ms since the epoch, 0: never. kept: how long the record of a key
--   that ended stays, ms. replaced: the id of the other key, or empty; overlap: how long that one goes on, ms.
-- organization: encoded; `*`: the operators. owner: the organisation that the other key must belong to, empty: any.
-- RETURNS {code, created}: NEW, ALREADY (this id was taken before), FULL (too many keys), MISSING (no such other key)
-- INCLUDE clock ending_keys audit_trail

-- A write that cannot grow memory, so that keys can be changed on a full server.
redis.call('PERSIST', audit_trail)
local made, list, now = key_prefix .. id, org_keys_prefix .. organization, now_ms()

-- Forgets the ids of keys whose records are gone.
local function forget_gone()
  for _, listed in ipairs(redis.call('ZRANGE', list, 0, -1)) do
    if redis.call('EXISTS', key_prefix .. listed) == 0 then redis.call('ZREM', list, listed) end
  end
end

local created = redis.call('HGET', made, 'created')
if created then return {'ALREADY', created} end
if redis.call('ZCARD', list) >= tonumber(keys_max) then
  forget_gone()
  if redis.call('ZCARD', list) >= tonumber(keys_max) then return {'FULL', '0'} end
end
if replaced ~= '' and end_key(replaced, owner, tonumber(overlap), tonumber(kept), now) == 'MISSING' then
  return {'MISSING', '0'}
end
created = string.format('%d', now)
local fields = cjson.decode(record)
if expires ~= '0' then fields[#fields + 1], fields[#fields + 2] = 'expires', expires end
redis.call('HSET', made, 'created', created, unpack(fields))
if expires ~= '0' then
  redis.call('PEXPIRE', made, string.format('%d', math.max(1, tonumber(expires) - now + tonumber(kept))))
end
redis.call('ZADD', list, created, id)
if organization ~= '*' then redis.call('SADD', tenants, organization) end
append_entry(organization, entry)
return {'NEW', created}
