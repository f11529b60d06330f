-- Makes due jobs claimable, high before normal before low, at most `limit`.
-- KEYS again suspect high normal low due_high due_normal due_low wake
-- PREFIX job
-- ARGV limit
-- RETURNS {promoted, ms until the next is due (0: now) or -1}
-- INCLUDE lease

local now, promoted, suspects_among, left = now_ms(), 0, false, tonumber(limit)
local due_sets = {{'h', due_high}, {'n', due_normal}, {'l', due_low}}

local function promote(lane, set, job)
  redis.call('PERSIST', set)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'state', 'entry', 'losses')
  if f[1] == 'queued' and f[2] == 'd' .. lane then
    local letter = tonumber(f[3] or 0) > 0 and 's' or 'a'
    suspects_among = suspects_among or letter == 's'
    local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
    redis.call('HSET', record, 'entry', entry)
    promoted = promoted + 1
  end
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
    pcall(promote, lane, set, due[i])
    redis.call('ZREM', set, due[i])
    left = left - 1
  end
end
if promoted > 0 then redis.call('ZADD', wake, 0, 'job') end
if suspects_among then redis.call('ZADD', wake, -1, 'look') end
return {promoted, soonest}
