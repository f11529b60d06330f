-- A call failed before its first token: tells its gate, then finds the job another one, or parks it where it can run
-- soonest. A parked job's slot is free and its attempt is given back.
-- KEYS again suspect high normal low due_high due_normal due_low suspects gates parked failover
-- PREFIX job log bell org orgbell lane
-- ARGV limits failures_max organization_events moves
-- ITEM consumer job token lane gate report retry candidates spent
-- report: limited (retry: ms, -1: the provider did not say), failed, or refused. candidates: gates that may answer
-- instead, in order.
-- RETURNS {code, gate, number}: GO (gate and reserved tokens), PARKED (ms until its gate opens), STAY (nobody else is
-- there, or a cancel was requested: an ordinary retry, or the end), LOST
-- INCLUDE batch lease clock announce predating requeueing gates gate_reports parking

load_gates()

-- The first candidate that has room; else nil, the one that has it soonest, and when.
local function find(job, candidates)
  local first, first_wait
  for name in string.gmatch(candidates, '%S+') do
    local need = need_of_job(name, job)
    local wait = wait_of(name, need)
    if wait == 0 and gate_limits[name] and gate(name).parked == 1 then wait = 1 end
    if wait == 0 then
      admit(name, need)
      return name, need
    end
    if not first_wait or wait < first_wait then first, first_wait = name, wait end
  end
  return nil, first, first_wait
end

local function repeated(job, token)
  local f = redis.call('HMGET', job_prefix .. job, 'past', 'due')
  if string.find(',' .. (f[1] or ''), ',' .. token .. ' rate_limited ', 1, true) then
    return {'PARKED', '', math.max(tonumber(f[2] or 0) - now, 0)}
  end
  return {'LOST', '', 0}
end

local replies = each_item(function(consumer, job, token, lane, name, report, retry, candidates, spent)
  if not holds(consumer, token) then return repeated(job, token) end
  report_call(name, report, tonumber(retry))
  local other, need, wait = find(job, candidates)
  if other then
    redis.call('HSET', job_prefix .. job, 'gate', other)
    return {'GO', other, need}
  end
  local opens_by = need
  if report == 'limited' then
    local own = math.max(wait_of(name, 0), 1)
    if not wait or own < wait then opens_by, wait = name, own end
  end
  if report == 'failed' or not opens_by then return {'STAY', '', 0} end
  local record = read_record(job)
  if record.cancel then return {'STAY', '', 0} end
  if string.sub(token, 1, 1) == 's' then redis.call('HDEL', suspects, consumer) end
  local function place() return park(job, opens_by, lane, token, record.deadline) end
  put_back(job, token, record, 'rate_limited', math.max(record.attempt - 1, 0), now + wait, place, spent)
  return {'PARKED', opens_by, wait}
end)
save_gates()
return replies
