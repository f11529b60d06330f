-- Makes a job wait until one of its gates has room. A queue is a sorted set of one gate and organisation by priority, then
-- by the job's age since its submit. There are as many for each organisation as the fleet has gates, however many different
-- chains callers choose.
-- INCLUDE lease now gate_states settled gates queues serving organizations backlog places

local OUTPUT_TOKENS = 1000

-- Tokens to reserve for a call: four bytes are about one token, and the reply may use all of max_tokens. At most the prompt
-- or a tenth of the gate's minute, whichever is more: what is used above it is charged when the call ends.
local function need_of(limit, spec_length, max_tokens)
  local prompt = math.ceil(spec_length / 4)
  local all = prompt + (tonumber(max_tokens or '') or OUTPUT_TOKENS)
  return math.max(prompt, math.min(all, math.floor(limit.tpm / 10)))
end

-- Asks the gates of a chain in order, up to `last` if it is given. Returns the first that has room: its name, 0, the reasons
-- of those before, tokens to reserve. If none has: nil, ms until one has (nil: this worker has none of them), the reasons,
-- the last reason. A slow start is waited for: it is no reason for a fallback. first_come: jobs that wait for a gate go
-- before this one, unless it may test a gate that they may not. without_room: gates with jobs that need more room than there is.
local function ask_chain(chain_text, organization, need, first_come, last, without_room)
  local soonest, reasons, why = nil, {}, nil
  for name in string.gmatch(chain_text, '%S+') do
    if not has_gate(name) then
      why = NOT_HERE
    else
      local limit, wait = gate_limits[name], 0
      local tokens = limit and limit.tpm > 0 and need(limit) or 0
      wait, why = wait_of(name, tokens, organization)
      local behind = wait == 0 and limit and first_come and has_queue(name) and gate(name).blocked_until <= now
      if wait == 0 and not behind and not (without_room and without_room[name]) then return name, 0, reasons, tokens end
      soonest = math.min(soonest or math.huge, math.max(wait, 1))
      if behind or why == 'slow_start' or name == last then break end
    end
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return nil, soonest, reasons, why
end

-- Adds a job to the queues of `names`, to be polled in `wait` ms; the caller releases its entry. Returns the new entry.
-- rest: not polled sooner, where it is the only job.
local function throttle(job, organization, names, place, deadline, wait, rest)
  for name in string.gmatch(names, '%S+') do
    join_queue(name, organization, place, job)
    expect_job(name, wait, organization)
    if rest and is_only_one(name, organization) then gate(name).poll_at = now + wait end
  end
  if names == FLEET then
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
  if not is_counted(f.entry) then note_waiting(f.org, 1, redis.call('HSTRLEN', job_prefix .. job, 'spec')) end
  local place = f.place or place_from('', redis.call('HGET', job_prefix .. job, 'spec') or '', f.created)
  local entry = enter(f.org, job, place, f.losses, f.deadline)
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'place', place, 'pass', pass or '')
  return is_suspect(string.sub(entry, 1, 1))
end
