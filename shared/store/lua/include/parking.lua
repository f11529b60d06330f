-- Jobs whose gates have no room wait in a lane: one for each chain of gates, a sorted set by priority, then by age. So
-- the first of a lane is the next for whichever of its gates has room first. `parked` names all of them by deadline.

local RANKS, RANK_WIDTH = {h = 0, a = 0, s = 0, i = 0, n = 1, l = 2}, 3e15
local OUTPUT_TOKENS = 1000

-- Tokens to reserve for a call: four bytes are about one token, and the answer may be as long as it is allowed to be.
local function need_of(spec_length, max_tokens)
  return math.ceil(spec_length / 4) + (tonumber(max_tokens or '') or OUTPUT_TOKENS)
end

-- Asks the gates of a chain in order. The first that has room: its name, 0, tokens to reserve. None: nil, how long until
-- one has, and why those before had none. A gate that only opens slowly is waited for: that is no
-- reason to go elsewhere.
local function ask_chain(chain_text, need)
  local soonest, reasons = nil, {}
  for name in string.gmatch(chain_text, '%S+') do
    local limit = gate_limits[name]
    local tokens = limit and limit.tpm > 0 and need() or 0
    local wait, why = wait_of(name, tokens)
    if wait == 0 then return name, 0, reasons, tokens end
    soonest = math.min(soonest or wait, wait)
    if why == 'ramp' then break end
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return nil, soonest or 0, reasons
end

-- Adds a job to a lane that is to be looked at again in `wait` ms; the caller releases its entry. `letter`: its priority.
local function park(job, lane, letter, token, deadline, wait)
  local ms, seq = string.match(token, '^%a(%d+)-(%d+)$')
  local score = RANKS[letter] * RANK_WIDTH + tonumber(ms) * 1000 + math.min(tonumber(seq), 999)
  redis.call('ZADD', lane_prefix .. lane, string.format('%.0f', score), job)
  redis.call('ZADD', parked, string.format('%.0f', deadline), job)
  local state = lanes[lane] or {math.huge, 0}
  lanes[lane], lanes_changed[lane] = {math.min(state[1], now + wait), state[2]}, true
  return 'p' .. lane
end

-- The next job of a lane; of 16 turns three begin at normal and one at low, as everywhere.
local function next_parked(lane)
  local key, turn = lane_prefix .. lane, lanes[lane][2] % 16
  local first = turn == 14 and 2 or (turn == 2 or turn == 6 or turn == 10) and 1 or 0
  local found
  if first > 0 then
    found = redis.call('ZRANGEBYSCORE', key, string.format('%.0f', first * RANK_WIDTH), '+inf', 'LIMIT', 0, 1)[1]
  end
  return found or redis.call('ZRANGE', key, 0, 0)[1]
end

-- Takes a job out of its lane and puts it where claims find it. `pass`: of the gate that let it go, as find_gate reads
-- it; empty: it must ask.
local function unpark(job, lane, pass)
  redis.call('ZREM', lane_prefix .. lane, job)
  redis.call('ZREM', parked, job)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'state', 'entry', 'losses')
  if f[1] ~= 'queued' or f[2] ~= 'p' .. lane then return nil end
  local letter = lane_after(f[3])
  local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  redis.call('HSET', record, 'entry', entry, 'pass', pass or '')
  return letter
end

-- The next job of a lane, the gate that has room for it, why those before that have none, and the tokens it reserves;
-- without a gate nil, and how long until one has room, in ms. Nothing when the lane is empty: then it is gone.
local function ask_lane(lane)
  local job = next_parked(lane)
  lanes_changed[lane] = true
  if not job then
    lanes[lane] = false
    return nil
  end
  local record = job_prefix .. job
  local name, wait, reasons, tokens = ask_chain(lane, function()
    local length, max_tokens = redis.pcall('HSTRLEN', record, 'spec'), redis.pcall('HGET', record, 'max_tokens')
    return type(length) == 'number' and need_of(length, type(max_tokens) == 'string' and max_tokens) or 0
  end)
  lanes[lane][1] = now + wait
  return job, name, name and reasons or wait, tokens
end
