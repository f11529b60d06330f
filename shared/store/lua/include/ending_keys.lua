-- Ends of API keys. The record stays for a while: listings show when it ended.

-- organization: the one that the key must belong to, empty: any. after: for how long the key goes on, ms.
-- Answers MISSING, ALREADY (it was revoked before) or OK.
local function end_key(key, organization, after, kept, now)
  local name = key_prefix .. key
  local holder, expires, revoked = unpack(redis.call('HMGET', name, 'org', 'expires', 'revoked'))
  if not holder or organization ~= '' and holder ~= organization then return 'MISSING' end
  if revoked then return 'ALREADY' end
  if after == 0 then
    redis.call('HSET', name, 'revoked', string.format('%d', now))
  elseif not expires or tonumber(expires) > now + after then
    redis.call('HSET', name, 'expires', string.format('%d', now + after))
  end
  redis.call('PEXPIRE', name, string.format('%d', after + kept))
  redis.call('PUBLISH', key_channel_prefix .. 'changed', key)
  return 'OK'
end
