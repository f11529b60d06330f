-- Delivers entries to this consumer, in the order of round_robin.lua.
-- INCLUDE adopting lease round_robin

local taken = {a = 0, h = 0, n = 0, l = 0, s = 0, i = 0}
local letters = {[requeued] = 'a', [suspect] = 's', [isolated] = 'i', [high] = 'h', [normal] = 'n', [low] = 'l'}

local function deliver(count, ...)
  local arguments = {'XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', ...}
  for _ = 1, select('#', ...) do arguments[#arguments + 1] = '>' end
  for _, answer in ipairs(redis.call(unpack(arguments)) or {}) do
    local letter = letters[answer[1]]
    taken[letter] = taken[letter] + adopt_all(letter, answer[2])
  end
end

local start
local function slot_now()
  start = start or tonumber(redis.call('GET', round_robin) or 0)
  return start
end

-- One call reads all streams as long as each may give that many in any case; one that gave less than asked is empty.
local open = {a = math.huge, h = math.huge, n = math.huge, l = math.huge}
local function note_empty(letter, asked, got) if got < asked then open[letter] = taken[letter] end end

local function total(counts_by_queue) return counts_by_queue.a + counts_by_queue.h + counts_by_queue.n + counts_by_queue.l end
local function exhausted() return total(open) < math.huge end

local function deliver_round_robin(wanted)
  local probe = math.floor(wanted / 16)
  if probe > 0 then
    deliver(probe, requeued, high, normal, low)
    for letter in pairs(open) do note_empty(letter, probe, taken[letter]) end
  end

  while total(taken) < wanted and not exhausted() do
    local shares = allot(wanted, slot_now(), open)
    for _, letter in ipairs(REQUEUED_FIRST) do
      local asked, before = math.min(shares[letter], wanted - total(taken) + taken[letter]) - taken[letter], taken[letter]
      if asked > 0 and open[letter] == math.huge then
        deliver(asked, streams[letter])
        note_empty(letter, asked, taken[letter] - before)
      end
    end
  end
end
