-- Finds budgets of which a part has been spent, and writes that to the audit trail, once in each of their periods.
-- KEYS wake organizations policies audit_trail
-- PREFIX budget
-- ARGV trail_length
-- RETURNS {organization, month or day, percent that was reached, nano-USD spent, nano-USD allowed, project or ''}...
-- INCLUDE budgets budget_holders audit_trail policies budget_periods

local LEVELS = {100, 80}
local found = {}
-- A write that cannot grow memory first.
redis.call('PERSIST', wake)

-- The highest level that a period has reached and that was not noted yet.
local function reached(organization, field, most, spent)
  local noted = tonumber(redis.call('HGET', budget_prefix .. organization, 'noted_' .. field) or 0)
  for _, level in ipairs(LEVELS) do
    if spent * 100 >= most * level then return level > noted and level or nil end
  end
end

-- project: nil: the organisation's own budget.
local function check(organization, project)
  for _, period in ipairs(periods_now()) do
    local most, field = policy_of(organization)[named_for(period.word, project)], named_for(period.field, project)
    local spent = most and amounts_of(organization, field)[1]
    local level = most and reached(organization, field, most, spent)
    if level then
      redis.call('HSET', budget_prefix .. organization, 'noted_' .. field, level)
      append_entry(organization, cjson.encode({a = 'budget.reached', k = 'worker',
        d = {period = period.word, percent = level, spentUsd = spent / 1e9, budgetUsd = most / 1e9, projectId = project}}))
      found[#found + 1] = {organization, period.word, level, string.format('%.0f', spent), string.format('%.0f', most),
        project or ''}
    end
  end
end

for _, organization in ipairs(budget_holders()) do
  pcall(check, organization)
  for word in pairs(policy_of(organization)) do
    local project = string.match(word, '^number@(.+)$')
    if project then pcall(check, organization, project) end
  end
end
return found
