-- A call failed before its first token: tells its gate, then finds the job another one, or parks it where it can run
-- soonest. A parked job's slot is free and its attempt is given back.
-- KEYS again suspect isolated high normal low due_high due_normal due_low gates parked failover
-- PREFIX job log bell org orgbell lane
-- ARGV limits failures_max organization_events fenced
-- ITEM consumer job token lane gate report retry candidates route spent
-- report: limited (retry: ms, -1: the provider did not say), failed, refused, or ok (it answered, but with no text).
-- candidates: gates that may answer instead, in order; route: the whole chain.
-- RETURNS {code, gate, number}: GO (gate and reserved tokens), PARKED (ms until a gate opens), STAY (nobody else is
-- there, or a cancel was requested: an ordinary retry, or the end), LOST
-- INCLUDE batch lease clock announce predating requeueing gates gate_reports parking

load_gates()

local function repeated(job, token)
  local f = redis.call('HMGET', job_prefix .. job, 'past', 'due')
  if string.find(',' .. (f[1] or ''), ',' .. token .. ' rate_limited ', 1, true) then
    return {'PARKED', '', math.max(tonumber(f[2] or 0) - now, 0)}
  end
  return {'LOST', '', 0}
end

local function any_open(chain_text)
  for name in string.gmatch(chain_text, '%S+') do
    if gate(name).closed_until <= now then return true end
  end
  return false
end

local replies = each_item(function(consumer, job, token, lane, name, report, retry, candidates, route, spent)
  if not holds(consumer, token) then return repeated(job, token) end
  report_call(name, report, tonumber(retry))
  local function need()
    local f = redis.call('HMGET', job_prefix .. job, 'spec', 'max_tokens')
    return need_of(#f[1], f[2])
  end
  local other, _, _, tokens = ask_chain(candidates, need)
  if other then
    admit(other, tokens)
    redis.call('HSET', job_prefix .. job, 'gate', other)
    return {'GO', other, tokens}
  end
  -- Who was told to wait may be the first to have room again; who failed or refused us is not asked any more. When
  -- everybody is down, or a call was answered and paid for, an attempt is used up, or the job would go round until its
  -- deadline.
  local chain_text = report == 'limited' and route or candidates
  if chain_text == '' or report == 'ok' or report == 'failed' and not any_open(candidates) then return {'STAY', '', 0} end
  local _, wait = ask_chain(chain_text, need)
  wait = math.max(wait, 1)
  local record = read_record(job)
  if record.cancel then return {'STAY', '', 0} end
  local function place() return park(job, chain_text, lane, token, record.deadline, wait) end
  put_back(job, token, record, 'rate_limited', math.max(record.attempt - 1, 0), now + wait, place, spent)
  return {'PARKED', '', wait}
end)
save_gates()
return replies
