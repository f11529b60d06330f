-- Delivers entries to the consumer of a claim, and what was delivered to it by claims whose answer was lost.

local taken = {a = 0, h = 0, n = 0, l = 0, s = 0, i = 0}
local letters = {[again] = 'a', [suspect] = 's', [isolated] = 'i', [high] = 'h', [normal] = 'n', [low] = 'l'}
local wanted, start = tonumber(limit), nil
local PENDING_PAGE = 500

local function deliver(count, ...)
  local arguments = {'XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', ...}
  for _ = 1, select('#', ...) do arguments[#arguments + 1] = '>' end
  for _, answer in ipairs(redis.call(unpack(arguments)) or {}) do
    local letter = letters[answer[1]]
    taken[letter] = taken[letter] + adopt_all(letter, answer[2])
  end
end

-- What was delivered to this consumer of late, and is not known to it, is what its lost claims took. What has not been
-- renewed for longer is for recover to find.
local function answer_again()
  local known_tokens = {}
  for i = ITEM_FIRST, #ARGV do known_tokens[ARGV[i]] = true end
  for letter, stream in pairs(streams) do
    local from = '-'
    while from do
      local page = redis.call('XPENDING', stream, GROUP, from, '+', PENDING_PAGE, consumer)
      for _, row in ipairs(page) do
        local unknown = not known_tokens[letter .. row[1]] and tonumber(row[3]) < 2 * tonumber(lease_ms)
        local entry = unknown and redis.call('XRANGE', stream, row[1], row[1])[1]
        if entry then adopt_all(letter, {entry}, true) end
      end
      from = #page == PENDING_PAGE and '(' .. page[PENDING_PAGE][1] or nil
    end
  end
  return #claims
end

local function turn_now()
  start = start or tonumber(redis.call('GET', turn) or 0)
  return start
end
