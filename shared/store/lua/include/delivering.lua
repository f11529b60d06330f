-- Delivers entries of the line to this consumer.
-- INCLUDE lease meeting joining rows shares adopting

local letters = {[requeued] = 'a', [suspect] = 's', [isolated] = 'i', [high] = 'h', [normal] = 'n', [low] = 'l', [line] = 'q'}
-- Entries beyond those wanted that one call reads, at most: throttled or deferred jobs must not make the script long.
local STEPS = 64

-- Returns the entries of each stream.
local function read(count, ...)
  local arguments, came = {'XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', ...}, {}
  for _ = 1, select('#', ...) do arguments[#arguments + 1] = '>' end
  for _, found in ipairs(redis.call(unpack(arguments)) or {}) do came[letters[found[1]]] = found[2] end
  return came
end

local function deliver(letter, count)
  local entries = read(count, streams[letter])[letter]
  if entries then taken[letter] = taken[letter] + take(letter, entries) end
end

local steps
local asked_old = false

local function deliver_line(target)
  if not steps then steps, slots_wanted = target - #claims + STEPS, target - #claims end
  while #claims < target and steps > 0 and not exhausted do
    local wanted, came = target - #claims
    if asked_old then came = read(wanted, line) else came = read(wanted, line, requeued, high, normal, low) end
    asked_old = true
    local old = 0
    for _, letter in ipairs({'a', 'h', 'n', 'l'}) do
      for _, entry in ipairs(came[letter] or {}) do
        pcall(join, letter .. entry[1], entry[2] and entry[2][2] or '')
        old = old + 1
      end
    end
    local entries, replaced_before = came.q or {}, replaced
    steps, delivered = steps - #entries, delivered + #entries
    -- Whether others went before is decided by what came.
    exhausted = #entries < wanted and old == 0
    take('q', entries)
    -- Entries with new ids are in the line now, before any that come from a backlog.
    exhausted = exhausted and replaced == replaced_before
  end
end
