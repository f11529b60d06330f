-- Ends overdue jobs that wait in backlogs, in a bounded number of steps.
-- INCLUDE now leaving overdue places deadlines release withholding

-- Scores of jobs of one priority, and of one project where they are withheld.
local function ranges_of(organization)
  local ranges = {}
  for _, offset in ipairs(withheld_offsets(organization)) do
    for rank = 0, 2 do
      local from = offset + rank * RANK_WIDTH
      ranges[#ranges + 1] = {string.format('%.0f', from), string.format('(%.0f', from + RANK_WIDTH)}
    end
  end
  return ranges
end

-- Ends overdue jobs at the heads of a backlog: within one priority jobs are in the order of their deadlines, except for those
-- with deadlines of their own. Returns ms until the next one there is overdue; nil: there is none.
local function expire_backlog(organization, most)
  local soonest
  for _, range in ipairs(ranges_of(organization)) do
    for _, job in ipairs(redis.call('ZRANGEBYSCORE', backlog_prefix .. organization, range[1], range[2], 'LIMIT', 0, most)) do
      local f = redis.pcall('HMGET', job_prefix .. job, 'state', 'entry', 'org', 'lost', 'deadline', 'v', 'route')
      local wait = (tonumber(f[5] or 0) or 0) - now
      if f[1] ~= 'queued' or f[2] ~= 'b' then
        redis.call('ZREM', backlog_prefix .. organization, job)
      elseif foreign(f[6], f[1]) or wait > 0 then
        wait = math.max(wait, tonumber(lease_ms))
        soonest = soonest and math.min(soonest, wait) or wait
        break
      else
        end_overdue(job, f[3], f[4])
        ended = ended + 1
        leave_place(job, f[2], f[3], f[7])
      end
    end
  end
  return soonest
end

-- Checks at most `most` backlogs whose first deadline is near. Returns ms until the next one is, -1: there is none.
local function expire_backlogs(most, begin_writing)
  local found = redis.call('ZRANGE', backlogs, 0, most, 'WITHSCORES')
  for i = 1, #found, 2 do
    local wait = tonumber(found[i + 1]) - now
    if wait > 0 or i > 2 * most then return math.max(wait, 0) end
    begin_writing()
    local ok, left = pcall(expire_backlog, found[i], most)
    if ok and left then
      redis.call('ZADD', backlogs, string.format('%.0f', now + left), found[i])
    elseif redis.call('EXISTS', backlog_prefix .. found[i]) == 0 then
      redis.call('ZREM', backlogs, found[i])
    end
  end
  return -1
end
