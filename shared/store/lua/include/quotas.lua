-- Decides whether an organisation may run jobs. One that may start none is held: paused, at its cap or at its budget. It has no
-- entry in the line until something changes (`held_organizations`: when to look again, in ms).
-- INCLUDE organizations policies ended_lines budgets

-- Jobs of this organisation that run now: its count still has those whose end is in the ledger.
local function running_of(organization)
  return math.max(counts_of(organization).running - ended_in_ledger(organization), 0)
end

local function is_capped(organization)
  local cap = limit_of(organization, 'running', running_max)
  return cap > 0 and counts_of(organization).running >= cap and running_of(organization) >= cap
end

local function is_held(organization)
  return policy_of(organization).paused == 1 or is_capped(organization) or is_over_budget(organization)
end

-- Only a change lets a paused one in, an end or the next look one at its cap; more may be spent when a period begins.
local function note_held(organization)
  local at = 0
  if policy_of(organization).paused == 1 then
    at = 'inf'
  elseif not is_capped(organization) then
    local _, opens = room_of(organization)
    at = string.format('%d', opens)
  end
  redis.call('ZADD', held_organizations, at, organization)
end
