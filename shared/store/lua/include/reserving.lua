-- Reserves the bound of an attempt before it starts, for a job whose organisation has a budget or that has a limit of its own.
-- INCLUDE budgets bounds settling withholding

-- What a running job has reserved, for a claim that is answered again.
local function read_reservation(f)
  f.bound = tonumber(string.match(f.reserved or '', '^(%d+) '))
  f.budgeted = f.bound ~= nil
end

-- Nano-USD of a job's earlier attempts, as far as they are known.
local function cost_in(spent) return tonumber(cost_of_spent(spent)) or 0 end

-- What one attempt of this job may cost at most, whatever else is spent; nil: nothing limits it. used: nano-USD of the job so
-- far; project: one with a budget, or nil.
local function most_of(organization, max_cost, used, project)
  if not max_cost and not has_budget(organization) then return nil end
  local most = max_cost and tonumber(max_cost) - used or math.huge
  local _, _, limit = room_of(organization)
  if project then limit = math.min(limit, (select(3, room_of(organization, nil, project)))) end
  -- Where nothing may be spent at all, jobs wait until that is changed.
  return limit > 0 and math.min(most, limit) or most
end

-- Those of some gates where an attempt fits into `most`.
local function affordable(names, spec, max_tokens, most)
  local found = {}
  for name in string.gmatch(names, '%S+') do
    if bound_of(name, spec, max_tokens) <= most then found[#found + 1] = name end
  end
  return table.concat(found, ' ')
end

-- Holds the organisation or the project of a job that finds no room. Returns as check_budget.
local function lack_room(f, needed)
  if f.project and room_of(f.org, nil, f.project) < needed then
    hold_for(f.org, needed, f.place, f.project)
    return 'withheld'
  end
  if room_of(f.org) >= needed then return end
  hold_for(f.org, needed, f.place)
  return 'held'
end

-- Whether a job may start now. Narrows the route of one that has too little left for some gates. Returns nil, or why not:
-- 'dear' (no gate is cheap enough for it), 'held' (its organisation has no room now), 'withheld' (its project has none).
local function check_budget(f)
  if not f.max_cost and not has_budget(f.org) then return end
  local names = f.route or chain
  local first = string.match(names, '^%S+') or ''
  local lost = tonumber(f.lost or 0)
  f.project = budgeted_project_of(f.org, f.spec)
  local used = cost_in(f.spent) + (f.max_cost and lost_cost(first, f.spec, lost) or 0)
  local most = most_of(f.org, f.max_cost, used, f.project)
  if not most then return end

  local cheap = affordable(names == '' and '-' or names, f.spec, f.max_tokens, most)
  if cheap == '' then return 'dear' end
  if cheap ~= names and names ~= '' then f.route = cheap end
  local pass = string.match(f.pass or '', '^%S+')
  if pass and not string.find(' ' .. cheap .. ' ', ' ' .. pass .. ' ', 1, true) then f.pass = nil end

  if not has_budget(f.org) then return end
  if is_over_budget(f.org) then return 'held' end
  if f.project and is_behind_withheld(f.org, f.project, tonumber(f.place or 0)) then return 'withheld' end
  return lack_room(f, bound_of(f.pass and pass or string.match(cheap, '^%S+'), f.spec, f.max_tokens))
end

-- Reserves what the attempt may cost at this gate. Returns 'held' or 'withheld' when there is no room for it.
local function reserve(f, name)
  if not f.max_cost and not has_budget(f.org) then return end
  f.bound = bound_of(name, f.spec, f.max_tokens)
  if not has_budget(f.org) then return end
  local lacking = lack_room(f, f.bound)
  if lacking then return lacking end
  drop_hold(f.org)
  f.reserved = reserve_amount(f.org, f.bound, f.reserved, cost_in(f.spent), f.project)
  -- Those that wait for the same budget come in one after the other.
  if f.project then let_project_in(f.org, f.project) end
  f.budgeted = true
end

-- Of gates that may take over a call, those where the job's own limit allows another one. f: fields of its record, as reroute
-- reads them.
local function affordable_again(f, candidates, spent)
  if not f[6] then return candidates end
  return affordable(candidates, f[1] or '', f[2], tonumber(f[6]) - cost_in(spent))
end

-- Raises a reservation for a call at another gate. Returns what that may cost (empty: anything), nano-USD that are needed if
-- there is no room for it, the field of the record to write, and the project that lacks the room.
local function raise(f, name, spent)
  local amount, day, counted, project = string.match(f[5] or '', '^(%d+) (%d+) (%d+) ?(%S*)$')
  if not amount and not f[6] then return '', nil, {} end
  local bound = bound_of(name, f[1] or '', f[2])
  local text = string.format('%.0f', bound)
  if not amount then return text, nil, {} end

  local used = math.max(cost_in(spent) - tonumber(counted), 0)
  local more = math.max(used + bound - tonumber(amount), 0)
  if room_of(f[4], tonumber(day)) < more then return '', bound end
  if project ~= '' and room_of(f[4], tonumber(day), project) < more then return '', bound, {}, project end
  return text, nil, {'reserved', raise_amount(f[4], f[5], more)}
end
