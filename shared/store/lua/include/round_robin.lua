-- Who is served next. Of 16 turns 12 follow high > normal > low, 3 begin at normal and 1 at low, never two of these
-- in a row. What came back goes first at every even turn; the odd ones offer high its chance before it, so that a
-- waiting high job is always among the next two (I8).

local REQUEUED_FIRST = {'a', 'h', 'n', 'l'}
-- Those of the other turns. A table of all sixteen would be made anew by each claim.
local ORDERS = {odd = {'h', 'a', 'n', 'l'}, normal = {'a', 'n', 'h', 'l'}, low = {'a', 'l', 'h', 'n'}}

-- How many of `wanted` jobs each lane gives, beginning at `turn`; available[lane] is what it can give at most.
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
