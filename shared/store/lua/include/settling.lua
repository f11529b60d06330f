-- Reserves amounts, and settles them. A record's `reserved` is `<reserved> <day of the claim> <part of the job's cost that is in the
-- sums>`, and the project behind it if that has a budget of its own: then all of it is in the project's sums too.
-- INCLUDE budgets budget_periods policies

local function parse_reserved(text)
  local amount, day, counted, project = string.match(text or '', '^(%d+) (%d+) (%d+) ?(%S*)$')
  return amount, day, counted, project ~= '' and project or nil
end

-- Reserves an amount in the present periods. before: the record's `reserved`, if it has one; prior: the job's cost without it;
-- project: nil if it has no budget. Returns the new `reserved`.
local function reserve_amount(organization, amount, before, prior, project)
  local _, _, counted, project_before = parse_reserved(before)
  for _, period in ipairs(periods_now()) do
    change_amounts(organization, period.field, counted and 0 or prior, amount)
    if project then
      change_amounts(organization, named_for(period.field, project), project == project_before and 0 or prior, amount)
    end
  end
  return string.format('%.0f %d %.0f', amount, day_now(), tonumber(counted) or prior) .. (project and ' ' .. project or '')
end

-- Changes a reservation while its lease lasts.
local function raise_amount(organization, reserved, more)
  local amount, day, counted, project = parse_reserved(reserved)
  for _, period in ipairs(periods_of(tonumber(day))) do
    change_amounts(organization, period.field, 0, more)
    if project then change_amounts(organization, named_for(period.field, project), 0, more) end
  end
  return string.format('%.0f %s %s', tonumber(amount) + more, day, counted) .. (project and ' ' .. project or '')
end

-- Ends a reservation: the sums get the part of the job's cost that they lack. total: nano-USD of all attempts; nil: as it was;
-- '-': unknown, then the bound counts. Returns the new `reserved`, and whether the cost is in the sums: not when they are
-- gone.
local function settle(organization, reserved, total)
  local amount, day, counted, project = parse_reserved(reserved)
  if not amount then return reserved, false end
  local whose = project and ' ' .. project or ''
  local used = total == '-' and tonumber(amount) or total and total - tonumber(counted) or 0
  for _, period in ipairs(periods_of(tonumber(day))) do
    if not amounts_of(organization, period.field).is_there then
      return string.format('0 %s %s', day, counted) .. whose, false
    end
  end
  for _, period in ipairs(periods_of(tonumber(day))) do
    change_amounts(organization, period.field, used, -tonumber(amount))
    local field = named_for(period.field, project)
    if project and amounts_of(organization, field).is_there then change_amounts(organization, field, used, -tonumber(amount)) end
  end
  if project then
    budget_cache.freed[organization] = budget_cache.freed[organization] or {}
    budget_cache.freed[organization][project] = true
  end
  return string.format('0 %s %.0f', day, tonumber(counted) + used) .. whose, true
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

-- Adds a cost without a reservation to the sums of a project that has a budget.
local function add_cost(organization, project, cost)
  if not has_budget(organization, project) then return end
  for _, period in ipairs(periods_now()) do
    change_amounts(organization, named_for(period.field, project), tonumber(cost) or 0, 0)
  end
end

-- Settles an end; a zero before the cost in its line says so (`note_unsettled`).
local function settle_line(organization, reserved, line)
  if not reserved then return line end
  local _, is_settled = settle(organization, reserved, cost_of_line(line))
  local _, _, _, counted_for = parse_reserved(reserved)
  local project = string.match(line, '^%S+ (%S+) ')
  -- Its budget was set while the job ran.
  if is_settled and project and not counted_for then add_cost(organization, project, cost_of_line(line)) end
  return is_settled and string.gsub(line, ' (%d+ [01])$', ' 0%1') or line
end

-- Adds the cost of ends that had no reservation: of jobs that ran when the budget was set, or in workers of an older release.
local function note_unsettled(lines)
  for _, line in ipairs(lines) do
    local organization, project, cost = string.match(line, '^%S+ %d+ (%S+) (%S+) %S+ %d+ %d+ %d+ ([1-9]%d*) [01]$')
    if organization and has_budget(organization) then
      for _, period in ipairs(periods_now()) do change_amounts(organization, period.field, tonumber(cost), 0) end
      add_cost(organization, project, cost)
    end
  end
end
