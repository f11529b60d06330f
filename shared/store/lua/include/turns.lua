-- Who is served next. Of 16 turns 12 follow high > normal > low, 3 begin at normal and 1 at low, never two of these
-- in a row. What came back goes first at every even turn; the odd ones offer high its chance before it, so that a
-- waiting high job is always among the next two (I8).

local FIRST_AGAIN, FIRST_HIGH = {'a', 'h', 'n', 'l'}, {'h', 'a', 'n', 'l'}
local TURNS = {}
for turn = 0, 15 do TURNS[turn] = turn % 2 == 0 and FIRST_AGAIN or FIRST_HIGH end
for _, turn in ipairs({2, 6, 10}) do TURNS[turn] = {'a', 'n', 'h', 'l'} end
TURNS[14] = {'a', 'l', 'h', 'n'}

-- How many of `wanted` jobs each lane gives, beginning at `turn`; available[lane] is what it can give at most.
local function allot(wanted, turn, available)
  local shares = {a = 0, h = 0, n = 0, l = 0}
  for _ = 1, wanted do
    for _, lane in ipairs(TURNS[turn % 16]) do
      if shares[lane] < available[lane] then
        shares[lane] = shares[lane] + 1
        break
      end
    end
    turn = turn + 1
  end
  return shares
end
