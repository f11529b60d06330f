-- Requeues live records that no entry names: the last safety net of I1, for damage from outside the scripts. Books the
-- cost of a job that was cancelled by force and whose worker never reported it; shortens lives as retentions say.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low wake gates throttled_deadlines counts ledger organizations policies rank_slots backlogs held_organizations due
-- PREFIX job log job_channel org organization_channel chain_set throttled throttled_by wake usage backlog delayed ended budget
-- ARGV limits lease_ms result_ttl log_ttl usage_ttl organization_events chain prices running_max
-- ITEM job
-- RETURNS requeued (1) or fine (0) per job
-- INCLUDE release batch lease now ledger organizations spending replacing gate_states serving queues delaying settling retention_audit letting_in

local due_sets = {h = due_high, n = due_normal, l = due_low}
local wake_up = false

-- Whether the job waits in one of its queues; if so, adds it to those that lost it, and has them polled.
local function is_throttled(job, organization, names)
  local place
  for name in string.gmatch(names, '%S+') do place = place or redis.call('ZSCORE', queue_key(name, organization), job) end
  if not place then
    redis.call('ZREM', throttled_deadlines, job)
    return false
  end
  for name in string.gmatch(names, '%S+') do
    join_queue(name, organization, place, job)
    expect_job(name, 0, organization)
  end
  redis.call('ZADD', throttled_deadlines, 'NX', redis.call('HGET', job_prefix .. job, 'deadline'), job)
  return true
end

-- The same for a job that an older release throttled: promotions move it.
local function is_throttled_before(job, names)
  for name in string.gmatch(names, '%S+') do
    if redis.call('ZSCORE', throttled_prefix .. name, job) then
      redis.call('ZADD', throttled_deadlines, 'NX', redis.call('HGET', job_prefix .. job, 'deadline'), job)
      return true
    end
  end
  if not redis.call('ZSCORE', chain_set_prefix .. names, job) then return false end
  redis.call('HSETNX', gates, '@' .. names, '0 0')
  redis.call('ZADD', throttled_deadlines, 'NX', redis.call('HGET', job_prefix .. job, 'deadline'), job)
  return true
end

local function named(entry, job, organization, deadline)
  if not entry then return false end
  local letter = string.sub(entry, 1, 1)
  if entry == 'bs' then return redis.call('ZSCORE', suspect_backlog_prefix .. organization, job) end
  if letter == 'b' then
    local stands = redis.call('ZSCORE', backlog_prefix .. organization, job)
    if stands then redis.call('ZADD', backlogs, 'LT', deadline, organization) end
    return stands
  end
  if entry == 'd' then
    local at = redis.call('ZSCORE', delayed_prefix .. organization, job)
    if at then delay_job(organization, job, at) end
    return at
  end
  if letter == 'd' then return redis.call('ZSCORE', due_sets[string.sub(entry, 2)], job) end
  if letter == 't' then return is_throttled(job, organization, string.sub(entry, 2)) end
  if letter == 'p' then return is_throttled_before(job, string.sub(entry, 2)) end
  local id, stream = string.sub(entry, 2), streams[string.sub(entry, 1, 1)]
  return stream and redis.call('XRANGE', stream, id, id)[1]
end

-- A worker gives up after two leases. If it reports later than that, this estimate was booked first and its report is not.
local function book_forced(job, organization, lost, ended)
  if now - tonumber(ended) < 2 * tonumber(lease_ms) then return end
  local outcome = redis.call('HGET', job_prefix .. job, 'outcome')
  local late = {finishReason = 'cancelled'}
  local used, reserved = add_spending(job, organization, late, tonumber(lost or 0) + #(cjson.decode(outcome).result or ''))
  if reserved then redis.call('HSET', job_prefix .. job, 'reserved', (settle(organization, reserved, cost_of_line(used) or 0))) end
  if reserved then note_freed(organization) end
  if used == '' then return end
  redis.call('HSET', job_prefix .. job, 'late', cjson.encode(late))
  book('-', now, used, organization)
end

-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)
load_gates()
local replies = each_item(function(job)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'losses', 'forced', 'late', 'org', 'lost', 'ended', 'v', 'place',
    'deadline', 'spec', 'created', 'reserved', 'route')
  if foreign(f[9], f[1]) then return 0 end
  if f[4] and not f[5] then book_forced(job, f[6], f[7], f[8]) end
  if OVER[f[1]] and f[6] and f[8] then note_over(job, f[6], f[1], f[8]) end
  if not LIVE[f[1]] or named(f[2], job, f[6], f[11]) then return 0 end
  if f[1] == 'processing' and f[2] and is_counted(f[2]) then note(f[6], 'running', -1) end
  if f[1] == 'processing' or not f[2] or not is_counted(f[2]) then note_waiting(f[6], 1, #f[12], f[15]) end
  replace_entry(job, {entry = f[2], losses = f[3], org = f[6], place = f[10], deadline = f[11], spec = f[12],
    created = f[13], reserved = f[14]})
  wake_up = true
  return 1
end)
save_gates()
pcall(shorten_lives)
close_books()
wake_up = let_freed_in() or wake_up
if wake_up then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
return replies
