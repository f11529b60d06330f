-- Keeps the budgets of organisations: nano-USD a day and a month, in UTC (words `day` and `month` of `policies`). What an
-- attempt may cost is reserved before it starts, and settled when its lease ends, in the day and month of its claim.
-- budget:<org>, a hash: `d<day since the epoch>` and `m<year and month>` have `<spent> <reserved>`; `held` has
-- `<nano-USD> <place>` of the job that found no room. Projects with budgets (words `month@<project>`, `day@<project>`) have the
-- same fields with `@<project>` behind them; an organisation with such projects keeps its own sums too.
-- PREFIX budget
-- INCLUDE policies budget_periods

-- freed: by organisation, the projects of which a reservation ended.
local budget_cache = {read = {}, changed = {}, freed = {}}

-- The name of a word or field of a project; nil: of the organisation itself.
local function named_for(name, project) return project and name .. '@' .. project or name end

local function has_budget(organization, project)
  local policy = policy_of(organization)
  if not policy.has_budget or not project then return policy.has_budget == true end
  return (policy[named_for('month', project)] or policy[named_for('day', project)]) ~= nil
end

local function read_budget(organization, ...)
  local fields = {...}
  local found = redis.pcall('HMGET', budget_prefix .. organization, unpack(fields))
  for i, field in ipairs(fields) do
    local first, second = string.match(found[i] or '', '^(%d+) (%d+)$')
    budget_cache.read[organization][field] = {tonumber(first) or 0, tonumber(second) or 0, is_there = first ~= nil}
  end
end

-- Spent and reserved (1, 2) in a period.
local function amounts_of(organization, field)
  local function read_present(project)
    local month, day = periods_now()[1].field, periods_now()[2].field
    read_budget(organization, named_for('held', project), named_for(month, project), named_for(day, project))
  end
  if not budget_cache.read[organization] then
    budget_cache.read[organization] = {}
    read_present()
  end
  local read, project = budget_cache.read[organization], string.match(field, '@(.+)$')
  if not read[field] and project and not read[named_for('held', project)] then read_present(project) end
  if not read[field] then read_budget(organization, field) end
  return read[field]
end

local function change_amounts(organization, field, spent, reserved)
  local amounts = amounts_of(organization, field)
  amounts[1], amounts[2] = math.max(amounts[1] + spent, 0), math.max(amounts[2] + reserved, 0)
  budget_cache.changed[organization] = budget_cache.changed[organization] or {}
  budget_cache.changed[organization][field] = true
end

-- What may still be reserved (infinite without a budget) on a day, today unless it is given, and ms at which a period with more begins; `limit`: the least that
-- a whole period allows. project: that of its budget, nil: of the organisation's own.
local function room_of(organization, day, project)
  local policy, room, opens, limit = policy_of(organization), math.huge, 0, math.huge
  for _, period in ipairs(periods_of(day or day_now())) do
    local most = policy[named_for(period.word, project)]
    if most then
      local amounts = amounts_of(organization, named_for(period.field, project))
      local left = most - amounts[1] - amounts[2]
      if left < room then room, opens = left, period.ends end
      limit = math.min(limit, most)
    end
  end
  return room, opens, limit
end

-- Whether the job for which the organisation, or its project, is held still finds no room.
local function is_over_budget(organization, project)
  if not has_budget(organization, project) then return false end
  local needed = amounts_of(organization, named_for('held', project))
  return needed.is_there and room_of(organization, nil, project) < needed[1]
end

-- Holds an organisation, or a project, until there is room for this job.
local function hold_for(organization, needed, place, project)
  local field = named_for('held', project)
  amounts_of(organization, field)
  budget_cache.read[organization][field] = {needed, tonumber(place) or 0, is_there = true}
  budget_cache.changed[organization] = budget_cache.changed[organization] or {}
  budget_cache.changed[organization][field] = true
end

local function drop_hold(organization, project)
  local field = named_for('held', project)
  if not amounts_of(organization, field).is_there then return end
  hold_for(organization, 0, 0, project)
  budget_cache.read[organization][field].is_there = false
end
