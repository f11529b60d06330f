-- Ends waiting jobs whose deadline has passed, in a bounded number of steps.
-- INCLUDE release lease now overdue leaving

local ended = 0

-- Ends an overdue job of an index, and removes one that has ended. One that runs is ended by its worker, one of another
-- release by a worker of that release: both are checked again in a lease. Returns ms to the deadline of one that waits, else nil.
local function expire(job, index)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'org', 'lost', 'deadline', 'v', 'route')
  local left = (tonumber(f[5] or 0) or 0) - now
  if f[1] == 'processing' or foreign(f[6], f[1]) then
    redis.call('ZADD', index, string.format('%.0f', now + math.max(left, 0) + tonumber(lease_ms)), job)
  elseif f[1] == 'queued' and left > 0 then
    redis.call('ZADD', index, f[5], job)
    return left
  else
    redis.call('ZREM', index, job)
    if f[1] ~= 'queued' then return end
    end_overdue(job, f[3], f[4])
    ended = ended + 1
    leave_place(job, f[2], f[3], f[7])
  end
end

-- Checks up to `most` members of an index that are due within a lease. Returns how many, and ms until the next is due (-1:
-- there is none).
local function expire_due(index, most)
  local found = redis.call('ZRANGE', index, 0, most, 'WITHSCORES')
  for i = 1, #found, 2 do
    local wait = tonumber(found[i + 1]) - now
    if wait > tonumber(lease_ms) or i > 2 * most then return (i - 1) / 2, math.max(wait, 0) end
    local ok, left = pcall(expire, found[i], index)
    -- A record that cannot be read is no job.
    if not ok then redis.call('ZREM', index, found[i]) end
    if ok and left then return (i + 1) / 2, left end
  end
  return #found / 2, -1
end

-- The first entries of a stream that were not delivered yet.
local function undelivered(stream, most)
  local from = '-'
  -- A stream of an older release may be missing.
  for _, group in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then from = '(' .. group[i + 1] end
    end
  end
  return redis.call('XRANGE', stream, from, '+', 'COUNT', most)
end

-- Ends overdue jobs at the head of a stream. Returns ms until the next one there is overdue, -1: none waits.
local function expire_heads(letter, most)
  local met = 0
  for _, entry in ipairs(undelivered(streams[letter], most)) do
    local f = redis.pcall('HMGET', job_prefix .. entry[2][2], 'state', 'entry', 'org', 'lost', 'deadline', 'v', 'route')
    if f[1] == 'queued' and not foreign(f[6], f[1]) and f[2] == letter .. entry[1] then
      local wait = tonumber(f[5]) - now
      if wait > 0 then return wait end
      end_overdue(entry[2][2], f[3], f[4])
      ended = ended + 1
      leave_place(entry[2][2], f[2], f[3], f[7])
      met = met + 1
    end
  end
  -- The next job of the backlog took its entry.
  return met > 0 and met < most and expire_heads(letter, most - met) or -1
end
