-- Raises the reservation of an attempt that calls another gate.
-- INCLUDE budgets bounds settling reserving

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
