-- Makes due jobs claimable: one of each organisation in turn.
-- INCLUDE release lease now organizations leaving places retention retention_timers backlog

local promoted, suspects_among = 0, false
local PROMOTED_FIELDS = {'state', 'entry', 'losses', 'deadline', 'v', 'org', 'place', 'spec', 'created', 'route'}

-- Returns whether the job must be checked again later: it is left to a worker of the release that knows it.
local function promote_job(job, expected)
  local values, f = redis.call('HMGET', job_prefix .. job, unpack(PROMOTED_FIELDS)), {}
  for i, name in ipairs(PROMOTED_FIELDS) do f[name] = values[i] end
  if foreign(f.v, f.state) then return true end
  if f.state ~= 'queued' or f.entry ~= expected then return false end

  local place = f.place or place_from('', f.spec, f.created)
  if not is_counted(f.entry) then note_waiting(f.org, 1, #f.spec, f.route) end
  local entry = enter(f.org, job, place, f.losses, f.deadline)
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'place', place)
  suspects_among = suspects_among or is_suspect(string.sub(entry, 1, 1))
  -- It may be behind jobs with more time, where no check of the first jobs would find it.
  if tonumber(f.deadline) <= now + 2 * tonumber(lease_ms) then redis.call('ZADD', deadlines, f.deadline, job) end
  promoted = promoted + 1
  return false
end

-- An older release has one set for each priority. Returns the jobs that are due, and ms until the next is (-1: none).
local function due_of_old_set(queue, most)
  local found, jobs = redis.call('ZRANGEBYSCORE', due_sets[queue], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, math.max(most, 1) + 1), {}
  for i = 1, #found, 2 do
    local wait = tonumber(found[i + 1]) - now
    if wait > 0 or #jobs >= most then return jobs, math.max(wait, 0) end
    jobs[#jobs + 1] = found[i]
  end
  return jobs, -1
end

local function promote_old(queue, job)
  local set = due_sets[queue]
  if promote_job(job, 'd' .. queue) then
    return redis.call('ZADD', set, 'XX', string.format('%d', now + tonumber(lease_ms)), job)
  end
  redis.call('ZREM', set, job)
end

local function promote_one(organization)
  if organization == RETENTION then return meet_retention_timers() end
  local key = delayed_prefix .. organization
  local job = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 1)[1]
  if job then
    local ok, later = pcall(promote_job, job, 'd')
    if ok and later then
      redis.call('ZADD', key, 'XX', string.format('%d', now + tonumber(lease_ms)), job)
    else
      redis.call('ZREM', key, job)
    end
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if not first[2] then return redis.call('ZREM', due, organization) end
  -- One with more due jobs goes behind the organisations that wait for longer.
  redis.call('ZADD', due, string.format('%.0f', math.max(tonumber(first[2]), now)), organization)
end

-- Returns ms until the next is due, 0: there are more now, -1: none.
local function promote_organizations(most, begin_writing)
  while true do
    local found = redis.call('ZRANGE', due, 0, math.max(most - 1, 0), 'WITHSCORES')
    local met = 0
    for i = 1, #found, 2 do
      local wait = tonumber(found[i + 1]) - now
      if wait > 0 then
        if met == 0 then return wait end
        break
      end
      if most <= 0 then return 0 end
      begin_writing()
      if not pcall(promote_one, found[i]) then redis.call('ZREM', due, found[i]) end
      met, most = met + 1, most - 1
    end
    if met == 0 then return -1 end
  end
end
