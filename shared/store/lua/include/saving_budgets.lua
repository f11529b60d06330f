-- Writes the sums of budgets, as one of the last steps of a call.
-- INCLUDE budgets budget_periods

local BUDGET_TTL = '5356800000'
-- Days for which a day's sums are kept, and reservations can be settled in it.
local DAYS_KEPT = 40

-- Forgets the days and months that are over for long, whenever a day begins.
local function forget_old_periods(organization)
  local key, old = budget_prefix .. organization, {}
  local first_day = day_now() - DAYS_KEPT
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local field = flat[i]
    local letter, number = string.match(string.match(field, '^[^@]*'), '(%a)(%d+)$')
    if letter == 'd' and tonumber(number) < first_day or letter == 'm' and 'm' .. number < month_field(first_day) then
      old[#old + 1] = field
    end
  end
  if #old > 0 then redis.call('HDEL', key, unpack(old)) end
  redis.call('PEXPIRE', key, BUDGET_TTL)
end

local function save_budget(organization, changed)
  local key, pairs_changed, is_new = budget_prefix .. organization, {}, false
  for field in pairs(changed) do
    local amounts = budget_cache.read[organization][field]
    local is_hold = string.find(field, '^held') ~= nil
    if is_hold and not amounts.is_there then
      redis.call('HDEL', key, field)
    else
      is_new = is_new or not is_hold and not amounts.is_there
      amounts.is_there = true
      pairs_changed[#pairs_changed + 1] = field
      pairs_changed[#pairs_changed + 1] = string.format('%.0f %.0f', amounts[1], amounts[2])
    end
  end
  if #pairs_changed > 0 then redis.call('HSET', key, unpack(pairs_changed)) end
  if is_new then forget_old_periods(organization) end
end

local function save_budgets()
  for organization, changed in pairs(budget_cache.changed) do pcall(save_budget, organization, changed) end
  budget_cache.changed = {}
end
