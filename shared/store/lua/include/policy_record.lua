-- Settings of an organisation as operators made them (`settings:`), and the words of them that scripts obey (`policies`).
-- INCLUDE organizations policies

-- Fields that scripts obey, and their words in policies.lua.
local WORDS = {weight = 'weight', slot_share = 'slot_share', running_jobs = 'running', queued_jobs = 'queued',
  delayed_jobs = 'delayed', submits_per_minute = 'submits', tokens_per_minute = 'tokens', paused = 'paused', blocked_users = 'blocked',
  month_nano_usd = 'month', day_nano_usd = 'day', usage_days = 'usage'}
-- Those of a job's end; `kept` says that there are any.
local KEPT = {prompt_seconds = 'prompt', result_seconds = 'result', failed_seconds = 'failed', events_seconds = 'events'}

local function words_of(record)
  local words, is_kept, projects = {}, false, 0
  for i = 1, #record, 2 do
    local name, value = record[i], record[i + 1]
    local word = WORDS[name] or KEPT[name]
    if word then words[#words + 1] = word .. '=' .. value end
    is_kept = is_kept or KEPT[name] ~= nil
    local period, project = string.match(name, '^(%a+)_nano_usd@(.+)$')
    if project then words[#words + 1] = period .. '@' .. project .. '=' .. value end
    if string.find(name, '^number@') then
      words[#words + 1], projects = name .. '=' .. value, projects + 1
    end
    if name == 'queued_bytes' then words[#words + 1] = 'kib=' .. math.ceil(tonumber(value) / 1024) end
  end
  if is_kept then words[#words + 1] = 'kept=1' end
  if projects > 0 then words[#words + 1] = 'projects=' .. projects end
  return table.concat(words, ' ')
end

local function names_budget(record)
  for i = 1, #record, 2 do
    if string.find(record[i], '_nano_usd', 1, true) then return true end
  end
  return false
end

-- After the record changed.
local function write_policy(organization, record)
  local text = words_of(record)
  if text == '' then
    redis.call('HDEL', policies, organization)
  else
    redis.call('HSET', policies, organization, text)
  end
  note(organization, 'policy', (text == '' and 0 or 1) - save(organization).policy)
  save(organization)
  forget_policy(organization)
end
