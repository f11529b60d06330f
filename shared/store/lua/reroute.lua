-- Moves jobs whose call failed before its first token: reports that to the gate, then finds another gate, or throttles the
-- job until one has room. A throttled job leaves its slot, and its attempt does not count.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low wake gates throttled_deadlines failover organizations policies rank_slots backlogs held_organizations due ledger
-- PREFIX job log job_channel org organization_channel chain_set throttled throttled_by wake backlog delayed budget
-- ARGV limits chain lease_ms failures_max organization_events fenced running_max bounds
-- ITEM consumer job token queue gate report retry candidates route spent token_limit
-- report: limited (retry: ms, -1: the provider did not say), failed, refused, or ok (it answered, but with no text).
-- candidates: gates that may answer instead, in order; route: the whole chain. token_limit: of its organisation at each gate, a
-- minute, 0: none.
-- RETURNS {code, gate, number, bound}: GO (gate and reserved tokens; nano-USD that the attempt may cost, empty: anything), THROTTLED (ms until a gate has room), STAY (no other
-- gate is there, or a cancel was requested: an ordinary retry, or the end), LOST
-- INCLUDE batch lease now organizations requeueing gate_states own_gates serving asking throttling gate_reports token_limits reserving budgets saving_budgets letting_in

load_gates()

local function repeated(job, token)
  local f = redis.call('HMGET', job_prefix .. job, 'past', 'due')
  if string.find(',' .. (f[1] or ''), ',' .. token .. ' rate_limited ', 1, true) then
    return {'THROTTLED', '', math.max(tonumber(f[2] or 0) - now, 0), ''}
  end
  return {'LOST', '', 0, ''}
end

local function any_available(chain_text)
  for name in string.gmatch(chain_text, '%S+') do
    if gate(name).blocked_until <= now then return true end
  end
  return false
end

-- Gates of a chain that a live worker has.
local function callable(chain_text)
  local names = {}
  for name in string.gmatch(chain_text, '%S+') do
    if has_gate(name) or gate(name).served_until > now then names[#names + 1] = name end
  end
  return table.concat(names, ' ')
end

-- Returns a job to its backlog whose next gate costs more than its organisation, or its project, may spend now.
local function wait_for_budget(job, token, f, needed, spent, project)
  local record = read_record(job)
  if record.cancel then return {'STAY', '', 0, ''} end
  hold_for(record.org, needed, f[7], project)
  requeue_job(job, token, record, 'rate_limited', math.max(record.attempt - 1, 0), nil, nil, spent)
  local _, opens = room_of(record.org, nil, project)
  return {'THROTTLED', '', math.max(math.min(opens, record.deadline) - now, 1), ''}
end

local ends_soon = false
local replies = each_item(function(consumer, job, token, queue, name, report, retry, candidates, route, spent,
                                   token_limit)
  if not holds(consumer, token) then return repeated(job, token) end
  local f = redis.call('HMGET', job_prefix .. job, 'spec', 'max_tokens', 'route', 'org', 'reserved', 'max_cost', 'place')
  local organization = f[4] or NOBODY
  note_token_limit(organization, tonumber(token_limit))
  report_call(name, report, tonumber(retry), organization)
  candidates = affordable_again(f, candidates, spent)
  local function need(per_minute) return need_of(per_minute, #(f[1] or ''), f[2]) end
  local other, _, _, tokens = ask_chain(candidates, organization, need, true)
  local bound, needed, reserved, project = '', nil, nil, nil
  if other then bound, needed, reserved, project = raise(f, other, spent) end
  if other and not needed then
    admit_call(other, tokens, organization)
    redis.call('HSET', job_prefix .. job, 'gate', other, unpack(reserved))
    return {'GO', other, tokens, bound}
  end
  if needed then return wait_for_budget(job, token, f, needed, spent, project) end
  -- A provider that asked to wait may be the first to have room again; one that failed or refused is not asked again.
  -- When all are down, or a call was answered and paid for, an attempt is used up: otherwise the job would be rerouted
  -- until its deadline.
  local chain_text = report == 'limited' and route or callable(candidates)
  if chain_text == '' or report == 'ok' or report == 'failed' and not any_available(chain_text) then return {'STAY', '', 0, ''} end
  local _, wait = ask_chain(chain_text, organization, need)
  wait = math.max(wait or SERVED_MS, 1)
  local record = read_record(job)
  if record.cancel then return {'STAY', '', 0, ''} end
  local names = (f[3] or chain_text ~= chain) and chain_text or FLEET
  local function throttled()
    return throttle(job, record.org, names, place_of(job, record), record.deadline, wait)
  end
  requeue_job(job, token, record, 'rate_limited', math.max(record.attempt - 1, 0), now + wait, throttled, spent)
  ends_soon = ends_soon or record.deadline - now <= tonumber(lease_ms)
  return {'THROTTLED', '', math.min(wait, math.max(record.deadline - now, 1)), ''}
end)
save_gates()
save_counts()
save_budgets()
if let_freed_in() then redis.call('ZADD', wake, 0, 'job') end
-- If the caller dies, another worker polls in time.
if ends_soon then redis.call('ZADD', wake, -1, 'look') end
return replies
