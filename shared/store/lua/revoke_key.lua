-- Ends an API key at once. Processes that know the key are notified.
-- KEYS audit_trail
-- PREFIX key key_channel
-- ARGV id owner kept entry trail_length
-- owner: the organisation that the key must belong to, empty: any. kept: how long its record stays, ms.
-- RETURNS MISSING, ALREADY (it was revoked before) or OK
-- INCLUDE clock ending_keys audit_trail

-- A write that cannot grow memory: a key is revoked on a full server too.
redis.call('PERSIST', audit_trail)
local code = end_key(id, owner, 0, tonumber(kept), now_ms())
if code == 'OK' then append_entry(redis.call('HGET', key_prefix .. id, 'org'), entry) end
return code
