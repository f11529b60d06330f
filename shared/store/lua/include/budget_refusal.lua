-- Refuses a new job whose organisation has spent its budget, or that no whole period allows. `gate_bounds` has what workers know of
-- their gates; a job with a gate that is not in it is taken.
-- INCLUDE budgets bounds clock policies budget_periods withholding

-- The least that an attempt costs at most, at any of the job's gates; 0: that is not known.
local function least_bound(names, spec, max_tokens)
  local gates_named, least = {}, math.huge
  for name in string.gmatch(names, '%S+') do gates_named[#gates_named + 1] = name end
  if #gates_named == 0 then return 0 end
  local rows = redis.pcall('HMGET', gate_bounds, unpack(gates_named))
  for i = 1, #gates_named do
    local found = parse_bound(rows[i] or '')
    least = math.min(least, found and bound_at(found, spec, max_tokens) or 0)
  end
  return least
end

-- project: nil: the organisation's own budget.
local function refusal_by(organization, project, least)
  for _, period in ipairs(periods_now()) do
    local most = policy_of(organization)[named_for(period.word, project)]
    if most and amounts_of(organization, named_for(period.field, project))[1] >= most then
      return string.format('budget %s %d %s', period.word, period.ends - now_ms(), project or '')
    end
  end
  local _, _, limit = room_of(organization, nil, project)
  if limit < math.huge and least() > limit then return 'budget job 0 ' .. (project or '') end
end

local function budget_refusal(organization, spec, route, max_tokens)
  if not has_budget(organization) then return end
  local function least() return least_bound(route ~= '' and route or chain, spec, max_tokens) end
  local project = budgeted_project_of(organization, spec)
  return refusal_by(organization, nil, least) or project and refusal_by(organization, project, least) or nil
end
