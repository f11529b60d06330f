-- Compares the kept counts of an organisation with the right ones, but for KiB and ranks, which are kept only, and corrects them.
-- INCLUDE organizations backlog

-- The packed number by what was counted, but for KiB and ranks, which are kept only.
local function number_of(right)
  local number = 0
  for field, value in pairs(right) do number = number + value * UNITS[field] end
  return number
end

local function is_right(organization, right)
  local packed = redis.call('HGET', organizations, organization)
  packed = packed and (tonumber(packed) or -1) or 0
  local kept = unpack_counts(packed)
  if right.waiting > right.placed and right.placed == 0 then return false end
  return packed == number_of(right) + kept.kib + kept.ranked * UNITS.ranked and (right.waiting > 0 or kept.kib == 0)
end

-- In two numbers, each of which is exact.
local function write_counts(organization, state)
  local others = 0
  for field, value in pairs(state) do
    if field ~= 'waiting' then others = others + value * UNITS[field] end
  end
  redis.call('HDEL', organizations, organization)
  for _, number in ipairs({state.waiting * UNITS.waiting, others}) do
    redis.call('HINCRBY', organizations, organization, string.format('%.0f', number))
  end
end

-- Writes the right counts: to add differences would leave a number that is below zero as it is. Returns whether anything was
-- wrong: one that is held may have no entry.
local function correct(organization, right)
  local state, before = save(organization), redis.call('HGET', organizations, organization)
  for field, value in pairs(right) do state[field] = value end
  if right.waiting == 0 then state.kib = 0 end
  write_counts(organization, state)
  local was_wrong = redis.call('HGET', organizations, organization) ~= before
  if refill(organization) then was_wrong = true end
  save(organization)
  return was_wrong
end
