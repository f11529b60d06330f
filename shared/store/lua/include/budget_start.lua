-- Begins a budget with what was spent in its periods before: the sums of usage, after the ledger was folded into them. Costs of
-- jobs that have not ended yet are added at their next claim, or at their end.
-- INCLUDE budgets folding organizations budget_periods settling retention

-- Nano-USD of jobs that ended on a day; project: those of one project alone.
local function spent_on(organization, day, project)
  local sum = 0
  local flat = redis.pcall('HGETALL', usage_prefix .. organization .. ':' .. string.format('%d', day))
  for i = 2, #flat, 2 do
    if not project or string.match(flat[i - 1], '^%S+') == project then
      sum = sum + (tonumber(string.match(flat[i], '^%d+ %d+ %d+ %d+ (%d+) ')) or 0)
    end
  end
  return sum
end

-- project: nil: that of the organisation.
local function begin_budget(organization, project)
  local folded, more
  repeat
    folded, more = fold()
    save_counts()
    note_unsettled(folded)
    keep_usage(folded)
  until not more

  local _, _, day_of_month = date_of(day_now())
  local spent_today, month = spent_on(organization, day_now(), project), 0
  for day = day_now() - day_of_month + 1, day_now() - 1 do month = month + spent_on(organization, day, project) end
  for _, period in ipairs(periods_now()) do
    local spent = period.word == 'month' and month + spent_today or spent_today
    local field = named_for(period.field, project)
    change_amounts(organization, field, spent - amounts_of(organization, field)[1], 0)
  end
end
