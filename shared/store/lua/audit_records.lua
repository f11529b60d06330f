-- Requeues live records that no entry names: the last net under I1, for damage from outside the scripts.
-- KEYS again suspect high normal low due_high due_normal due_low wake
-- PREFIX job log bell org orgbell
-- ARGV organization_events
-- ITEM job
-- RETURNS requeued (1) or fine (0) per job
-- INCLUDE batch lease announce

local due_sets = {h = due_high, n = due_normal, l = due_low}
local ring = false

local function named(entry, job)
  if not entry then return false end
  if string.sub(entry, 1, 1) == 'd' then return redis.call('ZSCORE', due_sets[string.sub(entry, 2)], job) end
  local id = string.sub(entry, 2)
  return redis.call('XRANGE', streams[string.sub(entry, 1, 1)], id, id)[1]
end

local replies = each_item(function(job)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'state', 'entry', 'losses')
  if (f[1] ~= 'queued' and f[1] ~= 'processing') or named(f[2], job) then return 0 end
  local letter = tonumber(f[3] or 0) > 0 and 's' or 'a'
  local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  redis.call('HSET', record, 'state', 'queued', 'entry', entry)
  ring = true
  return 1
end)
if ring then
  redis.call('ZADD', wake, -1, 'look')
  redis.call('ZADD', wake, 0, 'job')
end
return replies
