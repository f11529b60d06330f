-- Who is served next. Of 16 turns 12 follow high > normal > low, 3 begin at normal and 1 at low, never two of these
-- in a row. What came back goes first at every even turn; the odd ones offer high its chance before it, so that a
-- waiting high job is always among the next two (I8).

local FIRST_AGAIN = {'a', 'h', 'n', 'l'}
-- Those of the other turns. A table of all sixteen would be made anew by each claim.
local ORDERS = {odd = {'h', 'a', 'n', 'l'}, normal = {'a', 'n', 'h', 'l'}, low = {'a', 'l', 'h', 'n'}}

-- How many of `wanted` jobs each lane gives, beginning at `turn`; available[lane] is what it can give at most.
local function allot(wanted, turn, available)
  local shares = {a = 0, h = 0, n = 0, l = 0}
  for _ = 1, wanted do
    local order = FIRST_AGAIN
    if turn % 2 == 1 then order = ORDERS.odd
    elseif turn % 16 == 14 then order = ORDERS.low
    elseif turn % 4 == 2 then order = ORDERS.normal end
    for _, lane in ipairs(order) do
      if shares[lane] < available[lane] then
        shares[lane] = shares[lane] + 1
        break
      end
    end
    turn = turn + 1
  end
  return shares
end
