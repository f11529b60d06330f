-- Changes the settings of one organisation, and lets it in again if it may run now.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger audit_trail tenants
-- PREFIX job backlog settings
-- ARGV organization given gone entry trail_length running_max
-- given: a JSON array of fields and values; gone: a JSON array of fields that go back to the fleet's defaults.
-- RETURNS the whole record: fields and values
-- INCLUDE organizations backlog audit_trail

-- Fields that scripts obey, and their words in `policies` (policies.lua).
local WORDS = {weight = 'weight', slot_share = 'slot_share', running_jobs = 'running', queued_jobs = 'queued',
  delayed_jobs = 'delayed', submits_per_minute = 'submits', paused = 'paused'}

local function words_of(record)
  local words = {}
  for i = 1, #record, 2 do
    local name, value = record[i], record[i + 1]
    if WORDS[name] then words[#words + 1] = WORDS[name] .. '=' .. value end
    if name == 'queued_bytes' then words[#words + 1] = 'kib=' .. math.ceil(tonumber(value) / 1024) end
  end
  return table.concat(words, ' ')
end

local function write_record()
  local record, fields, names = settings_prefix .. organization, cjson.decode(given), cjson.decode(gone)
  if #names > 0 then redis.call('HDEL', record, unpack(names)) end
  if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
  redis.call('SADD', tenants, organization)
  append_entry(organization, entry)
  return redis.call('HGETALL', record)
end

local function write_policy(text)
  if text == '' then
    redis.call('HDEL', policies, organization)
  else
    redis.call('HSET', policies, organization, text)
  end
  note(organization, 'policy', (text == '' and 0 or 1) - save(organization).policy)
end

-- A write that cannot grow memory first, so that an organisation can be paused on a full server.
redis.call('PERSIST', wake)
local record = write_record()
write_policy(words_of(record))
redis.call('ZREM', held_organizations, organization)
if refill(organization) then redis.call('ZADD', wake, 0, 'job') end
save(organization)
return record
