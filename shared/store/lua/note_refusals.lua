-- Adds to what was refused to organisations today, in UTC. The trail of refusals has one entry for each of them and day, which
-- moves to its end with each addition.
-- KEYS refusal_trail
-- PREFIX refusals erased
-- ARGV trail_length
-- ITEM organization digest counts
-- organization: encoded; `*`: operators. digest: of its id, by which a deleted one is known. counts: `<kind> <more>...`
-- RETURNS 1, or 0: the organisation was deleted
-- INCLUDE batch budget_periods

-- So long a day's counts are kept, ms: until gateways have added all of it.
local COUNTS_TTL = 172800000
-- Among the kinds: the id of the entry.
local ENTRY = '!entry'

local function date_now()
  local year, month, day = date_of(day_now())
  return string.format('%d-%02d-%02d', year, month + 1, day)
end

local function add_counts(key, counts)
  for kind, more in string.gmatch(counts, '(%S+) (%d+)') do redis.call('HINCRBY', key, kind, more) end
  redis.call('PEXPIRE', key, COUNTS_TTL)
  local flat, found, entry = redis.call('HGETALL', key), {}, nil
  for i = 1, #flat, 2 do
    if flat[i] == ENTRY then entry = flat[i + 1] else found[flat[i]] = tonumber(flat[i + 1]) end
  end
  return found, entry
end

-- A write that cannot grow memory.
redis.call('PERSIST', refusal_trail)
return each_item(function(organization, digest, counts)
  if redis.call('EXISTS', erased_prefix .. digest) == 1 then return 0 end
  local key = string.format('%s%s:%d', refusals_prefix, organization, day_now())
  local found, before = add_counts(key, counts)
  local text = cjson.encode({a = 'refused', k = 'gateway', d = {day = date_now(), counts = found}})
  local id = redis.call('XADD', refusal_trail, 'MAXLEN', '~', trail_length, '*', 'o', organization, 'e', text)
  redis.call('HSET', key, ENTRY, id)
  if before then redis.call('XDEL', refusal_trail, before) end
  return 1
end)
