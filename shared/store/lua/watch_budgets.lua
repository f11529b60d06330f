-- Finds budgets of which a part has been spent, and writes that to the audit trail, once in each of their periods.
-- KEYS wake organizations policies audit_trail
-- PREFIX budget
-- ARGV trail_length
-- RETURNS {organization, month or day, percent that was reached, nano-USD spent, nano-USD allowed}...
-- INCLUDE budgets budget_holders audit_trail policies budget_periods

local LEVELS = {100, 80}
local found = {}
-- A write that cannot grow memory first.
redis.call('PERSIST', wake)

-- The highest level that a period has reached and that was not noted yet.
local function reached(organization, period, most, spent)
  local noted = tonumber(redis.call('HGET', budget_prefix .. organization, 'noted_' .. period.field) or 0)
  for _, level in ipairs(LEVELS) do
    if spent * 100 >= most * level then return level > noted and level or nil end
  end
end

local function check(organization)
  for _, period in ipairs(periods_now()) do
    local most = policy_of(organization)[period.word]
    local spent = most and amounts_of(organization, period.field)[1]
    local level = most and reached(organization, period, most, spent)
    if level then
      redis.call('HSET', budget_prefix .. organization, 'noted_' .. period.field, level)
      append_entry(organization, cjson.encode({a = 'budget.reached', k = 'worker',
        d = {period = period.word, percent = level, spentUsd = spent / 1e9, budgetUsd = most / 1e9}}))
      found[#found + 1] = {organization, period.word, level, string.format('%.0f', spent), string.format('%.0f', most)}
    end
  end
end

for _, organization in ipairs(budget_holders()) do pcall(check, organization) end
return found
