-- Changes the settings of one organisation, and lets it in again if it may run now.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger audit_trail tenants counts
-- PREFIX job backlog settings budget usage ended
-- ARGV organization given gone entry trail_length running_max usage_ttl
-- given: a JSON array of fields and values; gone: a JSON array of fields that go back to the fleet's defaults.
-- RETURNS the whole record: fields and values; FULL: too many projects would have budgets, nothing was changed
-- INCLUDE organizations policies backlog audit_trail policy_record budgets budget_start budget_periods ending saving_budgets project_checks project_numbers

-- Of usage, at most: several ms.
local KNOWN_DAYS = 4000

local record_key, fields, names = settings_prefix .. organization, cjson.decode(given), cjson.decode(gone)
if string.find(given, '@', 1, true) and are_too_many(organization, redis.call('HGETALL', record_key), fields, names) then return 'FULL' end

local function write_record()
  if #names > 0 then redis.call('HDEL', record_key, unpack(names)) end
  if #fields > 0 then redis.call('HSET', record_key, unpack(fields)) end
  redis.call('SADD', tenants, organization)
  append_entry(organization, entry)
  local written = redis.call('HGETALL', record_key)
  return number_projects(organization, record_key, written) and redis.call('HGETALL', record_key) or written
end

-- While it had no budget, nobody kept account of it.
local function begin_budgets(record)
  if names_budget(record) and not has_budget(organization) then pcall(begin_budget, organization) end
  for i = 1, #record, 2 do
    local project = string.match(record[i], '^number@(.+)$')
    if project and not has_budget(organization, project) then pcall(begin_budget, organization, project) end
  end
end

-- Days of usage that are there live as long as those to come.
local function keep_known_usage()
  local days = policy_of(organization).usage
  local oldest = day_now() - math.min(math.ceil(tonumber(usage_ttl) / 86400000), KNOWN_DAYS)
  for day = days and day_now() or oldest - 1, oldest, -1 do
    local key = usage_prefix .. organization .. ':' .. string.format('%d', day)
    redis.call('PEXPIREAT', key, string.format('%.0f', (day + 1 + days) * 86400000))
  end
end

-- A write that cannot grow memory first, so that an organisation can be paused on a full server.
redis.call('PERSIST', wake)
local record = write_record()
begin_budgets(record)
write_policy(organization, record)
keep_known_usage()
if has_budget(organization) then drop_hold(organization) end
if policy_of(organization).projects then check_projects(organization) end
redis.call('ZREM', held_organizations, organization)
if refill(organization) then redis.call('ZADD', wake, 0, 'job') end
save(organization)
count_ended()
save_budgets()
return record
