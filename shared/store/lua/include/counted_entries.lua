-- Counts the entries of an organisation in the streams, for the audit: those that its caller knows, and those that came since.
-- ARGV checks_max
-- INCLUDE lease

-- A look-up takes the time of as many entries of a range.
local LOOK_UP = 4
-- Entries and throttled jobs that this call may still check; below zero: there were more.
local checks_left = tonumber(checks_max)
local delivered_until, arrivals = {}, {}

local function parts_of(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function read_group(letter)
  delivered_until[letter] = {0, 0}
  for _, group in ipairs(redis.pcall('XINFO', 'GROUPS', streams[letter])) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then delivered_until[letter] = {parts_of(group[i + 1])} end
    end
  end
end

local function is_delivered(letter, id)
  local ms, seq = parts_of(id)
  local last = delivered_until[letter]
  return ms < last[1] or ms == last[1] and seq <= last[2]
end

-- Reads the entries behind those that the caller knows, by stream. Returns whether all were read.
local function read_arrivals(known_until)
  for letter, after in pairs(known_until) do
    read_group(letter)
    local entries = redis.call('XRANGE', streams[letter], '(' .. after, '+', 'COUNT', checks_left + 1)
    checks_left = checks_left - #entries
    if checks_left < 0 then return false end
    for _, entry in ipairs(entries) do
      local whose = entry[2][4]
      if whose then
        arrivals[whose] = arrivals[whose] or {q = {}, s = {}, i = {}}
        table.insert(arrivals[whose][letter], entry[1])
      end
    end
  end
  return true
end

local function count_entry(right, letter, id)
  if is_delivered(letter, id) then
    right.running = right.running + 1
  else
    right.waiting = right.waiting + 1
    if letter == 'q' then right.placed = right.placed + 1 end
    if letter == 's' then right.suspects = right.suspects + 1 end
  end
end

-- Entries that are left of those that the caller knows: looked up one by one or, where they are many, read with all between.
local function count_known(right, organization, letter, ids)
  if LOOK_UP * #ids <= checks_left then
    checks_left = checks_left - LOOK_UP * #ids
    for _, id in ipairs(ids) do
      if redis.call('XRANGE', streams[letter], id, id)[1] then count_entry(right, letter, id) end
    end
    return
  end
  local entries = redis.call('XRANGE', streams[letter], ids[1], ids[#ids], 'COUNT', math.max(checks_left, 0) + 1)
  checks_left = checks_left - #entries
  for _, entry in ipairs(entries) do
    if entry[2][4] == organization then count_entry(right, letter, entry[1]) end
  end
end

local function count_entries(right, organization, letter, text)
  local ids = {}
  for id in string.gmatch(text, '%S+') do ids[#ids + 1] = id end
  if #ids > 0 then count_known(right, organization, letter, ids) end
  for _, id in ipairs(arrivals[organization] and arrivals[organization][letter] or {}) do count_entry(right, letter, id) end
end
