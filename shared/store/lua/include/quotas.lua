-- Decides whether an organisation may run jobs. One that may start none is held: paused, at its cap or at its budget. It has no
-- entry in the line until something changes (`held_organizations`: when it is checked again, in ms).
-- INCLUDE clock organizations policies ended_lines budgets

-- Jobs of this organisation that run now: its count still has those whose end is in the ledger.
local function running_of(organization)
  return math.max(counts_of(organization).running - ended_in_ledger(organization), 0)
end

local function is_capped(organization)
  local cap = limit_of(organization, 'running', running_max)
  return cap > 0 and counts_of(organization).running >= cap and running_of(organization) >= cap
end

local function is_held(organization)
  if policy_of(organization).paused == 1 or is_capped(organization) then return true end
  return has_budget(organization) and is_over_budget(organization)
end

-- The time of the next check (ms). Only a change lets a paused one in, an end or a check one at its cap; more may be spent when
-- a period begins.
local function check_time(organization, capped_at)
  if policy_of(organization).paused == 1 then return 'inf' end
  if is_capped(organization) then return string.format('%d', capped_at) end
  local _, opens = room_of(organization)
  return string.format('%d', opens)
end

-- Checks are in the order of these times: one that has a time keeps it, and gets none before those that wait for theirs.
local function note_held(organization)
  local at = check_time(organization, now_ms())
  if at == 'inf' then return redis.call('ZADD', held_organizations, at, organization) end
  redis.call('ZADD', held_organizations, 'LT', at, organization)
end

-- Has an organisation checked soon, if it is held.
local function check_soon(organization)
  redis.call('ZADD', held_organizations, 'XX', 'LT', string.format('%d', now_ms()), organization)
end
