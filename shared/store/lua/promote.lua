-- Makes due jobs claimable, high before normal before low, at most `limit`, and parked ones whose deadline has passed:
-- the claim ends them. Rings for gates that have room: claims let their jobs go.
-- KEYS again suspect isolated high normal low due_high due_normal due_low wake gates parked
-- PREFIX job lane
-- ARGV limit lease_ms limits
-- RETURNS {promoted, ms until the next is due (0: more are due now) or -1, ms until the caller must look after the lanes
--   of gates or -1}
-- INCLUDE release lease clock gates parking

local promoted, suspects_among, left = 0, false, tonumber(limit)
local due_sets = {{'h', due_high}, {'n', due_normal}, {'l', due_low}}

local function promote(lane, set, job)
  redis.call('PERSIST', set)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'state', 'entry', 'losses', 'v')
  -- Left to a worker that knows it; the others ask again in a lease.
  if foreign(f[4], f[1]) then return redis.call('ZADD', set, 'XX', string.format('%d', now + tonumber(lease_ms)), job) end
  if f[1] == 'queued' and f[2] == 'd' .. lane then
    local letter = lane_after(f[3])
    suspects_among = suspects_among or is_suspect(letter)
    local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
    redis.call('HSET', record, 'entry', entry)
    promoted = promoted + 1
  end
  redis.call('ZREM', set, job)
end

local soonest = -1
for _, pair in ipairs(due_sets) do
  local lane, set = pair[1], pair[2]
  local due = redis.call('ZRANGEBYSCORE', set, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, math.max(left, 1) + 1)
  for i = 1, #due, 2 do
    local wait = tonumber(due[i + 1]) - now
    if wait > 0 or left <= 0 then
      wait = math.max(wait, 0)
      soonest = soonest < 0 and wait or math.min(soonest, wait)
      break
    end
    -- A record that cannot be read is nobody's job: it leaves the set all the same.
    if not pcall(promote, lane, set, due[i]) then redis.call('ZREM', set, due[i]) end
    left = left - 1
  end
end

local function sooner(wait) soonest = soonest < 0 and wait or math.min(soonest, wait) end

local function expire(job)
  local entry = redis.call('HGET', job_prefix .. job, 'entry')
  local letter = entry and string.sub(entry, 1, 1) == 'p' and unpark(job, string.sub(entry, 2))
  redis.call('ZREM', parked, job)
  if not letter then return end
  suspects_among = suspects_among or is_suspect(letter)
  promoted = promoted + 1
end

local first = redis.call('ZRANGE', parked, 0, 15, 'WITHSCORES')
for i = 1, #first, 2 do
  local wait = tonumber(first[i + 1]) - now
  if wait > 0 then
    sooner(wait)
    break
  end
  if not pcall(expire, first[i]) then redis.call('ZREM', parked, first[i]) end
end
local open_lane, lanes_wait = false, -1
if #first > 0 then
  load_gates()
  for lane in pairs(lanes) do
    local ok, job, name, wait = pcall(ask_lane, lane)
    if ok and job and name then open_lane = true elseif ok and job then
      lanes_wait = lanes_wait < 0 and wait or math.min(lanes_wait, wait)
    end
  end
  lanes_wait = promise(lanes_wait)
  save_gates()
end
if promoted > 0 or open_lane then redis.call('ZADD', wake, 0, 'job') end
if suspects_among then redis.call('ZADD', wake, -1, 'look') end
return {promoted, soonest, lanes_wait}
