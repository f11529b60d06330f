-- Keeps the budgets of organisations: nano-USD a day and a month, in UTC (words `day` and `month` of `policies`). What an
-- attempt may cost is reserved before it starts, and settled when its lease ends, in the day and month of its claim.
-- budget:<org>, a hash: `d<day since the epoch>` and `m<year and month>` have `<spent> <reserved>`; `held` has
-- `<nano-USD> <place>` of the job that found no room. A record's `reserved` is `<reserved> <day of the claim> <part of the
-- job's cost that is in the sums>`.
-- INCLUDE organizations policies clock

local DAY_MS, BUDGET_TTL = 86400000, '5356800000'
-- Days for which a day's sums are kept, and reservations can be settled in it.
local DAYS_KEPT = 40
local budgets_read, budgets_changed = {}, {}
local today
local periods_read = {}

-- Year, month (from 0) and day of the month of a day since the epoch (proleptic Gregorian, from 1970 on).
local function date_of(day)
  local shifted = day + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = (math.floor((5 * of_year + 2) / 153) + 2) % 12
  return year + era * 400 + (month < 2 and 1 or 0), month, of_year - math.floor((153 * ((month + 10) % 12) + 2) / 5) + 1
end

local function month_field(day)
  local year, month = date_of(day)
  return string.format('m%d%02d', year, month + 1)
end

local function day_now()
  today = today or math.floor(now_ms() / DAY_MS)
  return today
end

-- A day and its month: the words of their limits, the names of their fields, and ms at which they end.
local function periods_of(day)
  if periods_read[day] then return periods_read[day] end
  local field, next_month = month_field(day), day + 1
  while month_field(next_month) == field do next_month = next_month + 1 end
  periods_read[day] = {{word = 'month', field = field, ends = next_month * DAY_MS},
    {word = 'day', field = 'd' .. day, ends = (day + 1) * DAY_MS}}
  return periods_read[day]
end

local function periods_now() return periods_of(day_now()) end

local function has_budget(organization)
  local policy = policy_of(organization)
  return (policy.month or policy.day) ~= nil
end

local function read_budget(organization, ...)
  local fields = {...}
  local found = redis.pcall('HMGET', budget_prefix .. organization, unpack(fields))
  for i, field in ipairs(fields) do
    local first, second = string.match(found[i] or '', '^(%d+) (%d+)$')
    budgets_read[organization][field] = {tonumber(first) or 0, tonumber(second) or 0, is_there = first ~= nil}
  end
end

-- Spent and reserved (1, 2) in a period.
local function amounts_of(organization, field)
  if not budgets_read[organization] then
    budgets_read[organization] = {}
    read_budget(organization, 'held', periods_now()[1].field, periods_now()[2].field)
  end
  if not budgets_read[organization][field] then read_budget(organization, field) end
  return budgets_read[organization][field]
end

local function change_amounts(organization, field, spent, reserved)
  local amounts = amounts_of(organization, field)
  amounts[1], amounts[2] = math.max(amounts[1] + spent, 0), math.max(amounts[2] + reserved, 0)
  budgets_changed[organization] = budgets_changed[organization] or {}
  budgets_changed[organization][field] = true
end

-- What may still be reserved (infinite without a budget) on a day, today unless it is given, and ms at which a period with more begins; `limit`: the least that
-- a whole period allows.
local function room_of(organization, day)
  local policy, room, opens, limit = policy_of(organization), math.huge, 0, math.huge
  for _, period in ipairs(periods_of(day or day_now())) do
    local most = policy[period.word]
    if most then
      local amounts = amounts_of(organization, period.field)
      local left = most - amounts[1] - amounts[2]
      if left < room then room, opens = left, period.ends end
      limit = math.min(limit, most)
    end
  end
  return room, opens, limit
end

-- Whether the job for which the organisation is held still finds no room.
local function is_over_budget(organization)
  if not has_budget(organization) then return false end
  local needed = amounts_of(organization, 'held')
  return needed.is_there and room_of(organization) < needed[1]
end

-- Whether ends may let in an organisation whose job found no room.
local function waits_for_budget(organization) return amounts_of(organization, 'held').is_there end

-- Holds an organisation until there is room for this job.
local function hold_for(organization, needed, place)
  budgets_read[organization].held = {needed, tonumber(place) or 0, is_there = true}
  budgets_changed[organization] = budgets_changed[organization] or {}
  budgets_changed[organization].held = true
end

local function drop_hold(organization)
  if not amounts_of(organization, 'held').is_there then return end
  hold_for(organization, 0, 0)
  budgets_read[organization].held.is_there = false
end

-- Reserves an amount in the present periods. before: the record's `reserved`, if it has one; prior: the job's cost without it.
-- Returns the new `reserved`.
local function reserve_amount(organization, amount, before, prior)
  local counted = string.match(before or '', ' (%d+)$')
  for _, period in ipairs(periods_now()) do
    change_amounts(organization, period.field, counted and 0 or prior, amount)
  end
  return string.format('%.0f %d %.0f', amount, day_now(), tonumber(counted) or prior)
end

-- Changes a reservation while its lease lasts.
local function raise_amount(organization, reserved, more)
  local amount, day, counted = string.match(reserved, '^(%d+) (%d+) (%d+)$')
  for _, period in ipairs(periods_of(tonumber(day))) do change_amounts(organization, period.field, 0, more) end
  return string.format('%.0f %s %s', tonumber(amount) + more, day, counted)
end

-- Ends a reservation: the sums get the part of the job's cost that they lack. total: nano-USD of all attempts; nil: as it was;
-- '-': unknown, then the bound counts. Returns the new `reserved`, and whether the cost is in the sums: not when they are
-- gone.
local function settle(organization, reserved, total)
  local amount, day, counted = string.match(reserved, '^(%d+) (%d+) (%d+)$')
  if not amount then return reserved, false end
  local used = total == '-' and tonumber(amount) or total and total - tonumber(counted) or 0
  for _, period in ipairs(periods_of(tonumber(day))) do
    if not amounts_of(organization, period.field).is_there then return string.format('0 %s %s', day, counted), false end
  end
  for _, period in ipairs(periods_of(tonumber(day))) do
    change_amounts(organization, period.field, used, -tonumber(amount))
  end
  return string.format('0 %s %.0f', day, tonumber(counted) + used), true
end

-- Nano-USD in a line for the ledger: '-': unknown; nil: nothing was used.
local function cost_of_line(line)
  local cost = string.match(line, ' (%S+) [01]$')
  return cost ~= '-' and tonumber(cost) or cost
end

-- The same of a job's `spent`.
local function cost_of_spent(spent)
  if (spent or '') == '' then return nil end
  return tonumber(string.match(spent, '"cost":(%d+)')) or '-'
end

-- Settles an end; a zero before the cost in its line says so (`note_unsettled`).
local function settle_line(organization, reserved, line)
  if not reserved then return line end
  local _, is_settled = settle(organization, reserved, cost_of_line(line))
  return is_settled and string.gsub(line, ' (%d+ [01])$', ' 0%1') or line
end

-- Adds the cost of ends that had no reservation: of jobs that ran when the budget was set, or in workers of an older release.
local function note_unsettled(lines)
  for _, line in ipairs(lines) do
    local organization, cost = string.match(line, '^%S+ %d+ (%S+) %S+ %S+ %d+ %d+ %d+ ([1-9]%d*) [01]$')
    if organization and has_budget(organization) then
      for _, period in ipairs(periods_now()) do change_amounts(organization, period.field, tonumber(cost), 0) end
    end
  end
end

-- Forgets the days and months that are over for long, whenever a day begins.
local function forget_old_periods(organization)
  local key, old = budget_prefix .. organization, {}
  local first_day = day_now() - DAYS_KEPT
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local field = flat[i]
    local letter, number = string.match(field, '(%a)(%d+)$')
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
    local amounts = budgets_read[organization][field]
    if field == 'held' and not amounts.is_there then
      redis.call('HDEL', key, 'held')
    else
      is_new = is_new or field ~= 'held' and not amounts.is_there
      amounts.is_there = true
      pairs_changed[#pairs_changed + 1] = field
      pairs_changed[#pairs_changed + 1] = string.format('%.0f %.0f', amounts[1], amounts[2])
    end
  end
  if #pairs_changed > 0 then redis.call('HSET', key, unpack(pairs_changed)) end
  if is_new then forget_old_periods(organization) end
end

-- Writes what was noted, as one of the last steps of a call.
local function save_budgets()
  for organization, changed in pairs(budgets_changed) do pcall(save_budget, organization, changed) end
  budgets_changed = {}
end
