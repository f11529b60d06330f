-- Makes a job wait until one of its gates has room. A queue is a sorted set of one gate and organisation by priority, then
-- by the job's age since its submit. There are as many for each organisation as the fleet has gates, however many different
-- chains callers choose.
-- INCLUDE lease now gate_states own_gates queues serving token_clocks token_limits organizations backlog places

-- A rest is looked at after a minute at the latest: settings may have changed.
local REST_MAX_MS = 60000

-- When (ms) an organisation's rest in the queue of a gate ends: when its tokens are paid there. In the fleet's queue, where it
-- rests if they are not at any of the gates: in `wait` ms, when one of these has room for it. nil: it does not rest.
local function rest_of(queue, organization, wait)
  local own, paid_in = token_limit_of(organization), 0
  if own == 0 then return nil end
  for name in string.gmatch(queue == FLEET and chain or queue, '%S+') do
    paid_in = math.max(paid_in, clock_wait(name, organization, own, own))
  end
  if paid_in == 0 then return nil end
  return now + math.min(queue == FLEET and wait or paid_in, REST_MAX_MS)
end

-- Adds a job to the queues of `names`, to be polled in `wait` ms; the caller releases its entry. Returns the new entry.
-- not_sooner: not polled before that, where it is the only job.
local function throttle(job, organization, names, place, deadline, wait, not_sooner)
  local rests_until
  for name in string.gmatch(names, '%S+') do
    rests_until = rest_of(name, organization, wait)
    join_queue(name, organization, place, job, rests_until)
    expect_job(name, wait, organization, rests_until)
    if not_sooner and is_only_one(name, organization) then gate(name).poll_at = now + wait end
  end
  if names == FLEET and not rests_until then
    for name in pairs(in_chain) do poll_in(name, wait) end
  end
  redis.call('ZADD', throttled_deadlines, string.format('%.0f', deadline), job)
  return 't' .. names
end

local THROTTLED_FIELDS = {'state', 'entry', 'losses', 'max_tokens', 'v', 'org', 'place', 'created', 'deadline', 'route', 'lost'}

local function read_throttled(job)
  local values, f = redis.call('HMGET', job_prefix .. job, unpack(THROTTLED_FIELDS)), {}
  for i, name in ipairs(THROTTLED_FIELDS) do f[name] = values[i] end
  return f
end

-- Makes a throttled job claimable. f: fields of its record. `pass`: the gate that released it and the reservation, as
-- find_gate reads it; empty: the claim asks the gates. Returns whether it is a suspect.
local function let_go(job, f, pass)
  leave_queues(job, f.org, string.sub(f.entry, 2))
  if not is_counted(f.entry) then note_waiting(f.org, 1, redis.call('HSTRLEN', job_prefix .. job, 'spec'), f.route) end
  local place = f.place or place_from('', redis.call('HGET', job_prefix .. job, 'spec') or '', f.created)
  local entry = enter(f.org, job, place, f.losses, f.deadline)
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'place', place, 'pass', pass or '')
  return is_suspect(string.sub(entry, 1, 1))
end
