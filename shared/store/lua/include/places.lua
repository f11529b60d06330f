-- Where a job stands among its organisation's: by priority, then by age, whatever became of it meanwhile. Its record keeps
-- that as `place`, the score of every set in which it waits.

local RANKS, RANK_WIDTH = {h = 0, n = 1, l = 2}, 3e15
local LETTERS = {high = 'h', normal = 'n', low = 'l'}

local function place_at(letter, microseconds)
  return string.format('%.0f', RANKS[letter] * RANK_WIDTH + microseconds)
end

local function rank_of(place) return math.floor(tonumber(place) / RANK_WIDTH) end

-- What came back stands in a stream of its own, which does not tell its priority.
local function priority_of(token, spec)
  local letter = string.sub(token, 1, 1)
  if RANKS[letter] then return letter end
  if not string.find(spec, '"priority":"', 1, true) then return 'n' end
  local ok, told = pcall(cjson.decode, spec)
  return ok and LETTERS[told.priority] or 'n'
end

-- For a record of the commit before: of jobs of one ms the id of the first entry tells which came first.
local function place_from(token, spec, created)
  local ms, seq = string.match(token, '^[hnl](%d+)-(%d+)$')
  local within = ms == created and math.min(tonumber(seq), 999) or 0
  return place_at(priority_of(token, spec), tonumber(created) * 1000 + within)
end
