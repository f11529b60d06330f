-- Requeues live records that no entry names: the last safety net of I1, for damage from outside the scripts. Books the
-- cost of a job that was cancelled by force and whose worker never reported it.
-- KEYS requeued suspect isolated high normal low due_high due_normal due_low wake gates throttled_deadlines counts ledger
-- PREFIX job log job_channel org organization_channel chain_set throttled wake usage
-- ARGV limits lease_ms result_ttl log_ttl usage_ttl organization_events chain prices
-- ITEM job
-- RETURNS requeued (1) or fine (0) per job
-- INCLUDE release batch lease now ledger spending replacing gate_states serving

local due_sets = {h = due_high, n = due_normal, l = due_low}
local wake_up = false

-- Whether the job waits in one of its queues; if so, adds it to those that lost it, and has them polled.
local function is_throttled(job, names)
  local score
  for name in string.gmatch(names, '%S+') do score = score or redis.call('ZSCORE', throttled_prefix .. name, job) end
  if not score then
    if not redis.call('ZSCORE', chain_set_prefix .. names, job) then
      redis.call('ZREM', throttled_deadlines, job)
      return false
    end
    redis.call('HSETNX', gates, '@' .. names, '0 0')
  end
  for name in string.gmatch(score and names or '', '%S+') do
    redis.call('ZADD', throttled_prefix .. name, 'NX', score, job)
    expect_job(name, 0)
  end
  redis.call('ZADD', throttled_deadlines, 'NX', redis.call('HGET', job_prefix .. job, 'deadline'), job)
  return true
end

local function named(entry, job)
  if not entry then return false end
  if string.sub(entry, 1, 1) == 'd' then return redis.call('ZSCORE', due_sets[string.sub(entry, 2)], job) end
  if string.sub(entry, 1, 1) == 'p' then
    return is_throttled(job, string.sub(entry, 2))
  end
  local id, stream = string.sub(entry, 2), streams[string.sub(entry, 1, 1)]
  return stream and redis.call('XRANGE', stream, id, id)[1]
end

-- A worker gives up after two leases. If it reports later than that, this estimate was booked first and its report is not.
local function book_forced(job, organization, lost, ended)
  if now - tonumber(ended) < 2 * tonumber(lease_ms) then return end
  local outcome = redis.call('HGET', job_prefix .. job, 'outcome')
  local late = {finishReason = 'cancelled'}
  local used = add_spending(job, organization, late, tonumber(lost or 0) + #(cjson.decode(outcome).result or ''))
  if used == '' then return end
  redis.call('HSET', job_prefix .. job, 'late', cjson.encode(late))
  book('-', now, used)
end

-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)
load_gates()
local replies = each_item(function(job)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'losses', 'forced', 'late', 'org', 'lost', 'ended', 'v')
  if foreign(f[9], f[1]) then return 0 end
  if f[4] and not f[5] then book_forced(job, f[6], f[7], f[8]) end
  if not LIVE[f[1]] or named(f[2], job) then return 0 end
  replace_entry(job, f[3])
  wake_up = true
  return 1
end)
save_gates()
close_books()
if wake_up then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
return replies
