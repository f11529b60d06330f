-- How many of an organisation's jobs may run. Held is one that may start none: paused, at its cap or at its budget. It has no
-- entry in the line until something changes (`held_organizations`: when that may be at the earliest, in ms).
-- INCLUDE organizations policies ended_lines

-- Jobs of this organisation that run at this moment: ends that are in the ledger are in its count yet.
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
