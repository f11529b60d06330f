-- Orders the jobs of one organisation: by priority, then by age since the submit, also after retries. The record keeps this
-- number as `place`, the score in every set in which the job waits.

local RANKS, RANK_WIDTH = {h = 0, n = 1, l = 2}, 3e15
local LETTERS = {high = 'h', normal = 'n', low = 'l'}

local function place_at(letter, microseconds)
  return string.format('%.0f', RANKS[letter] * RANK_WIDTH + microseconds)
end

local function is_normal(place) return math.floor(tonumber(place) / RANK_WIDTH) == RANKS.n end

-- Requeued jobs of an older release are in a stream of their own, whose letter does not show the priority.
local function priority_of(token, spec)
  local letter = string.sub(token, 1, 1)
  if RANKS[letter] then return letter end
  if not string.find(spec, '"priority":"', 1, true) then return 'n' end
  local ok, asked = pcall(cjson.decode, spec)
  return ok and LETTERS[asked.priority] or 'n'
end

-- The place of a job of an older release: jobs of one ms are ordered by the id of their first entry.
local function place_from(token, spec, created)
  local ms, seq = string.match(token, '^[hnl](%d+)-(%d+)$')
  local within = ms == created and math.min(tonumber(seq), 999) or 0
  return place_at(priority_of(token, spec), tonumber(created) * 1000 + within)
end
