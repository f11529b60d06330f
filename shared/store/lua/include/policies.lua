-- Reads the settings of single organisations (`policies`): words `<name>=<number>`, read only if the organisation's counts say
-- that there are any. weight, running (the most at once), slot_share (%), queued, kib and delayed (the most that wait),
-- submits (the most in a minute), tokens (the most in a minute at each gate), paused, blocked (users), month and day (nano-USD; with `@<project>`
-- behind them: of a project), projects (that have budgets), number@<project> (as withholding.lua counts it);
-- prompt, result, failed and events (how long they are kept, s; `kept`: any of these is set), usage (days).
-- INCLUDE organizations

local NO_POLICY = {}
local policies_read = {}
-- Defaults of limits, as numbers, by their texts.
local defaults = {}

local function parse_policy(text)
  local found = {}
  for name, value in string.gmatch(type(text) == 'string' and text or '', '(%S+)=(%d+)') do
    found[name] = tonumber(value)
  end
  found.has_budget = (found.month or found.day or found.projects) ~= nil
  return found
end

-- Several are asked for of each job: what was read is looked at first.
local function policy_of(organization)
  local read = policies_read[organization]
  if read then return read end
  local has_policy = counts_of(organization).policy ~= 0
  read = has_policy and parse_policy(redis.pcall('HGET', policies, organization)) or NO_POLICY
  policies_read[organization] = read
  return read
end

-- Has the settings read again, after they were changed.
local function forget_policy(organization) policies_read[organization] = nil end

local function weight_of(organization)
  return math.min(math.max(policy_of(organization).weight or 1, 1), 16)
end

-- A limit of an organisation: its own one, or the default (0: none).
local function limit_of(organization, name, default)
  local own = policy_of(organization)[name]
  if own then return own end
  local number = defaults[default]
  if not number then
    number = tonumber(default)
    defaults[default] = number
  end
  return number
end
