-- Decides whether an organisation may run jobs. One that may start none is held: paused, at its cap or at its budget. It has no
-- entry in the line until something changes (`held_organizations`: the earliest time for that, in ms).
-- INCLUDE organizations policies ended_lines

-- Jobs of this organisation that run now: its count still has those whose end is in the ledger.
local function running_of(organization)
  return math.max(counts_of(organization).running - ended_in_ledger(organization), 0)
end

local function is_capped(organization)
  local cap = limit_of(organization, 'running', running_max)
  return cap > 0 and counts_of(organization).running >= cap and running_of(organization) >= cap
end

local function is_held(organization)
  return policy_of(organization).paused == 1 or is_capped(organization)
end

local function note_held(organization) redis.call('ZADD', held_organizations, 0, organization) end
