-- Days and months of budgets, in UTC.
-- INCLUDE clock

local DAY_MS = 86400000
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
