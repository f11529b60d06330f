-- Keeps the budgets of organisations: nano-USD a day and a month, in UTC (words `day` and `month` of `policies`). What an
-- attempt may cost is reserved before it starts, and settled when its lease ends, in the day and month of its claim.
-- budget:<org>, a hash: `d<day since the epoch>` and `m<year and month>` have `<spent> <reserved>`; `held` has
-- `<nano-USD> <place>` of the job that found no room.
-- PREFIX budget
-- INCLUDE policies budget_periods

local budget_cache = {read = {}, changed = {}}

local function has_budget(organization)
  local policy = policy_of(organization)
  return (policy.month or policy.day) ~= nil
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
  if not budget_cache.read[organization] then
    budget_cache.read[organization] = {}
    read_budget(organization, 'held', periods_now()[1].field, periods_now()[2].field)
  end
  if not budget_cache.read[organization][field] then read_budget(organization, field) end
  return budget_cache.read[organization][field]
end

local function change_amounts(organization, field, spent, reserved)
  local amounts = amounts_of(organization, field)
  amounts[1], amounts[2] = math.max(amounts[1] + spent, 0), math.max(amounts[2] + reserved, 0)
  budget_cache.changed[organization] = budget_cache.changed[organization] or {}
  budget_cache.changed[organization][field] = true
end

-- What may still be reserved (infinite without a budget) on a day, today unless it is given, and ms at which a period with more begins; `limit`: the least that
-- a whole period allows.
local function room_of(organization, day)
  local policy, room, opens, limit = policy_of(organization), math.huge, 0, math.huge
  for _, period in ipairs(periods_of(day or day_now())) do
    local most = policy[period.word]
    if most then
      local amounts = amounts_of(organization, period.field)
      local left = most - amounts[1] - amounts[2]
      if left < room then room, opens = left, period.ends end
      limit = math.min(limit, most)
    end
  end
  return room, opens, limit
end

-- Whether the job for which the organisation is held still finds no room.
local function is_over_budget(organization)
  if not has_budget(organization) then return false end
  local needed = amounts_of(organization, 'held')
  return needed.is_there and room_of(organization) < needed[1]
end

-- Holds an organisation until there is room for this job.
local function hold_for(organization, needed, place)
  budget_cache.read[organization].held = {needed, tonumber(place) or 0, is_there = true}
  budget_cache.changed[organization] = budget_cache.changed[organization] or {}
  budget_cache.changed[organization].held = true
end

local function drop_hold(organization)
  if not amounts_of(organization, 'held').is_there then return end
  hold_for(organization, 0, 0)
  budget_cache.read[organization].held.is_there = false
end
