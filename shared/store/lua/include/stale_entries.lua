-- Finds entries that were not renewed, a bounded number in each call.
-- INCLUDE lease now

local PAGE_ROWS, ROWS_MAX, TAKEN_MAX = 128, 1024, 256
-- Suspects first, so that it is known which workers held some; then the line, then the streams of an older release by
-- priority.
local SEARCHED = {'i', 's', 'q', 'h', 'a', 'n', 'l'}

local lease, stale = tonumber(lease_ms), tonumber(stale_ms)
local held_tokens, occupied = {}, {}
for i = ITEM_FIRST, #ARGV do held_tokens[ARGV[i]] = true end

-- Streams hold unfinished work only: empty ones are skipped.
local function find_occupied()
  local command = {'XREAD', 'COUNT', 1, 'STREAMS'}
  for _, letter in ipairs(SEARCHED) do command[#command + 1] = streams[letter] end
  for _ = 1, #SEARCHED do command[#command + 1] = '0' end
  for _, answer in ipairs(redis.call(unpack(command)) or {}) do
    for letter, stream in pairs(streams) do
      if stream == answer[1] then occupied[letter] = true end
    end
  end
end

-- Whether this caller is the one that searches: it was, or no worker is. A term that ends too far in the future, set before
-- the clock went back, counts as over.
local function keeps_watch()
  local known = redis.pcall('GET', recoverer)
  local holder, ends = string.match(type(known) == 'string' and known or '', '^(%S+) (%d+)$')
  local left, term = holder and tonumber(ends) - now or 0, math.floor(lease * 2 / 3)
  if left > 0 and left <= term and holder ~= consumer then return false end
  if holder ~= consumer or left <= term * 0.75 or left > term then
    redis.call('SET', recoverer, consumer .. ' ' .. string.format('%d', now + term), 'PX', term)
  end
  return true
end

-- Calls `take` with token and owner of each stale entry until it returns false, or TAKEN_MAX were found. Returns ms until
-- the next one goes stale (-1: none was found), the number of suspicious ones, and where it stopped: empty at the end.
local function each_stale(take)
  local next_stale, suspicious, taken, rows = -1, 0, 0, 0
  local first, last_id = string.match(cursor, '^(%a)(.+)$')
  local function meet(token, owner, idle)
    if held_tokens[token] then return true end
    suspicious = suspicious + 1
    if idle >= stale then
      taken = taken + 1
      return take(token, owner) and taken < TAKEN_MAX
    end
    next_stale = next_stale < 0 and stale - idle or math.min(next_stale, stale - idle)
    return true
  end
  for _, letter in ipairs(SEARCHED) do
    local from = letter == first and '(' .. last_id or '-'
    if letter == first then first = nil end
    while occupied[letter] and not first and from do
      local page = redis.call('XPENDING', streams[letter], GROUP, 'IDLE', math.floor(lease / 2), from, '+', PAGE_ROWS)
      for _, row in ipairs(page) do
        if not meet(letter .. row[1], row[2], tonumber(row[3])) then return next_stale, suspicious, letter .. row[1] end
      end
      rows = rows + #page
      from = #page == PAGE_ROWS and '(' .. page[#page][1] or nil
      if from and rows >= ROWS_MAX then return next_stale, suspicious, letter .. page[#page][1] end
    end
  end
  return next_stale, suspicious, ''
end
