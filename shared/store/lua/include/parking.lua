-- Jobs whose gates have no room wait in the lane of one of them: a sorted set by priority, then by age. `parked` names
-- them all with their deadlines.

local RANKS, RANK_WIDTH = {h = 0, a = 0, s = 0, n = 1, l = 2}, 3e15
local OUTPUT_TOKENS = 1000

-- Tokens to reserve for a call: four bytes are about one token, and the answer may be as long as it is allowed to be.
local function need_of(spec_length, max_tokens)
  return math.ceil(spec_length / 4) + (tonumber(max_tokens or '') or OUTPUT_TOKENS)
end

local function need_of_job(name, job)
  if not gate_limits[name] or gate_limits[name].tpm == 0 then return 0 end
  local record = job_prefix .. job
  local length, max_tokens = redis.pcall('HSTRLEN', record, 'spec'), redis.pcall('HGET', record, 'max_tokens')
  if type(length) ~= 'number' then return 0 end
  return need_of(length, max_tokens)
end

-- Adds a job to the lane of a gate; the caller releases its entry. `letter` tells its priority.
local function park(job, name, letter, token, deadline)
  local ms, seq = string.match(token, '^%a(%d+)-(%d+)$')
  local score = RANKS[letter] * RANK_WIDTH + tonumber(ms) * 1000 + math.min(tonumber(seq), 999)
  redis.call('ZADD', lane_prefix .. name, string.format('%.0f', score), job)
  redis.call('ZADD', parked, string.format('%.0f', deadline), job)
  gate(name).parked, gates_changed[name] = 1, true
  return 'p' .. name
end

-- The next job of a lane; of 16 turns three begin at normal and one at low, as everywhere.
local function next_parked(name)
  local lane, turn = lane_prefix .. name, gate(name).turn % 16
  local first = turn == 14 and 2 or (turn == 2 or turn == 6 or turn == 10) and 1 or 0
  local found
  if first > 0 then
    found = redis.call('ZRANGEBYSCORE', lane, string.format('%.0f', first * RANK_WIDTH), '+inf', 'LIMIT', 0, 1)[1]
  end
  return found or redis.call('ZRANGE', lane, 0, 0)[1]
end

-- Takes a job out of its lane and puts it where claims find it. `pass`: the gate it holds a reservation of.
local function unpark(job, name, pass)
  redis.call('ZREM', lane_prefix .. name, job)
  redis.call('ZREM', parked, job)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'state', 'entry', 'losses')
  if f[1] ~= 'queued' or f[2] ~= 'p' .. name then return nil end
  local letter = tonumber(f[3] or 0) > 0 and 's' or 'a'
  local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  redis.call('HSET', record, 'entry', entry, 'pass', pass or '')
  return letter
end

-- How long until the next job of a lane may leave it, in ms; nil when the lane is empty.
local function lane_wait(name)
  local job = next_parked(name)
  if not job then
    gate(name).parked, gates_changed[name] = 0, true
    return nil
  end
  local need = need_of_job(name, job)
  return wait_of(name, need), job, need
end
