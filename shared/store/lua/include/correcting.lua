-- Compares the kept counts of an organisation with the right ones, but for KiB and ranks, which are kept only, and corrects them.
-- INCLUDE organizations backlog

-- The packed number by what was counted, but for KiB and ranks, which are kept only.
local function number_of(right)
  local number = 0
  for field, value in pairs(right) do number = number + value * UNITS[field] end
  return number
end

local function is_right(organization, right)
  local kept = redis.call('HGET', organizations, organization)
  kept = kept and (tonumber(kept) or -1) or 0
  local kib, ranked = kept % RANGES.kib, math.floor(kept / UNITS.ranked) % 2
  if right.waiting > right.placed and right.placed == 0 then return false end
  return kept == number_of(right) + kib + ranked * UNITS.ranked and (right.waiting > 0 or kib == 0)
end

-- Returns whether anything was wrong: one that is held may have no entry.
local function correct(organization, right)
  local state, was_wrong = save(organization), false
  if right.waiting == 0 then right.kib = 0 end
  for field, value in pairs(right) do
    if state[field] ~= value then
      note(organization, field, value - state[field])
      was_wrong = true
    end
  end
  if refill(organization) then was_wrong = true end
  save(organization)
  return was_wrong
end
