-- Decides which stream is served next. Of 16 slots 12 follow high > normal > low, 3 begin at normal and 1 at low, never two
-- of these in a row. Requeued jobs go first in every even slot; in odd slots high goes before them, so that a waiting high
-- job is always among the next two (I8).

local REQUEUED_FIRST = {'a', 'h', 'n', 'l'}
-- Orders of the other slots. A table of all sixteen would be built again by each claim.
local ORDERS = {odd = {'h', 'a', 'n', 'l'}, normal = {'a', 'n', 'h', 'l'}, low = {'a', 'l', 'h', 'n'}}

-- Returns how many of `wanted` jobs each stream gives, beginning at `slot`; available[queue]: the most it can give.
local function allot(wanted, slot, available)
  local shares = {a = 0, h = 0, n = 0, l = 0}
  for _ = 1, wanted do
    local order = REQUEUED_FIRST
    if slot % 2 == 1 then order = ORDERS.odd
    elseif slot % 16 == 14 then order = ORDERS.low
    elseif slot % 4 == 2 then order = ORDERS.normal end
    for _, queue in ipairs(order) do
      if shares[queue] < available[queue] then
        shares[queue] = shares[queue] + 1
        break
      end
    end
    slot = slot + 1
  end
  return shares
end
