-- Who is served next. Of 16 turns 12 follow high > normal > low, 3 begin at normal and 1 at low, never two of these
-- in a row. What came back goes first at every even turn; the odd ones offer high its chance before it, so that a
-- waiting high job is always among the next two (I8).

local FIRST_AGAIN, FIRST_HIGH = {'a', 'h', 'n', 'l'}, {'h', 'a', 'n', 'l'}
local NORMAL_TURN, LOW_TURN = {'a', 'n', 'h', 'l'}, {'a', 'l', 'h', 'n'}

-- A table of all turns would be made anew by each claim.
local function lanes_at(turn)
  if turn % 2 == 1 then return FIRST_HIGH end
  if turn % 16 == 14 then return LOW_TURN end
  return turn % 4 == 2 and NORMAL_TURN or FIRST_AGAIN
end

-- How many of `wanted` jobs each lane gives, beginning at `turn`; available[lane] is what it can give at most.
local function allot(wanted, turn, available)
  local shares = {a = 0, h = 0, n = 0, l = 0}
  for _ = 1, wanted do
    for _, lane in ipairs(lanes_at(turn)) do
      if shares[lane] < available[lane] then
        shares[lane] = shares[lane] + 1
        break
      end
    end
    turn = turn + 1
  end
  return shares
end
