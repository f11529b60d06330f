-- Makes a job wait until one of its gates has room. A queue is a sorted set by priority, then by the job's age since its
-- submit: its first job is the next for the gate. There is one queue for each gate of the fleet, however many different
-- chains callers choose.
-- INCLUDE lease now gate_states gates queues serving

local RANKS, RANK_WIDTH = {h = 0, n = 1, l = 2}, 3e15
local LETTERS = {high = 'h', normal = 'n', low = 'l'}
local OUTPUT_TOKENS = 1000

-- Tokens to reserve for a call: four bytes are about one token, and the reply may use all of max_tokens.
local function need_of(spec_length, max_tokens)
  return math.ceil(spec_length / 4) + (tonumber(max_tokens or '') or OUTPUT_TOKENS)
end

-- Requeued jobs are in a stream of their own, whose letter does not show the priority.
local function priority_of(token, spec)
  local letter = string.sub(token, 1, 1)
  if RANKS[letter] then return letter end
  if not string.find(spec, '"priority":"', 1, true) then return 'n' end
  local ok, asked = pcall(cjson.decode, spec)
  return ok and LETTERS[asked.priority] or 'n'
end

-- Asks the gates of a chain in order, up to `last` if it is given. Returns the first that has room: its name, 0, the reasons
-- of those before, tokens to reserve. If none has: nil, ms until one has (nil: this worker has none of them), the reasons,
-- the last reason. A slow start is waited for: it is no reason for a fallback. first_come: jobs that wait for a gate go
-- before this one. stuck: gates with jobs that need more room than there is.
local function ask_chain(chain_text, need, first_come, last, stuck)
  local soonest, reasons, why = nil, {}, nil
  for name in string.gmatch(chain_text, '%S+') do
    if not has_gate(name) then
      why = NOT_HERE
    else
      local limit, wait = gate_limits[name], 0
      local tokens = limit and limit.tpm > 0 and need() or 0
      wait, why = wait_of(name, tokens)
      local behind = wait == 0 and limit and first_come and has_queue(name)
      if wait == 0 and not behind and not (stuck and stuck[name]) then return name, 0, reasons, tokens end
      soonest = math.min(soonest or math.huge, math.max(wait, 1))
      if behind or why == 'slow_start' or name == last then break end
    end
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return nil, soonest, reasons, why
end

-- The score in a queue, by priority, then by age: jobs of one ms are ordered by the id of their first entry.
local function place_in_queue(letter, token, created)
  local ms, seq = string.match(token, '^[hnl](%d+)-(%d+)$')
  local within = ms == created and math.min(tonumber(seq), 999) or 0
  return string.format('%.0f', RANKS[letter] * RANK_WIDTH + tonumber(created) * 1000 + within)
end

-- Adds a job to the queues of `names`, to be polled in `wait` ms; the caller releases its entry. Returns the new entry.
-- rest: not polled sooner, where it is the only job.
local function throttle(job, names, letter, token, created, deadline, wait, rest)
  local score = place_in_queue(letter, token, created)
  for name in string.gmatch(names, '%S+') do
    redis.call('ZADD', throttled_prefix .. name, score, job)
    expect_job(name, wait)
    if rest and redis.call('ZCARD', throttled_prefix .. name) == 1 then gate(name).poll_at = now + wait end
  end
  if names == FLEET then
    for name in pairs(in_chain) do poll_in(name, wait) end
  end
  redis.call('ZADD', throttled_deadlines, string.format('%.0f', deadline), job)
  return 'p' .. names
end

-- Makes a throttled job claimable. `pass`: the gate that released it and the reservation, as find_gate reads it; empty: the
-- claim asks the gates. Returns the letter of its new entry.
local function let_go(job, entry, losses, pass)
  leave_queues(job, string.sub(entry, 2))
  local letter = queue_after(losses)
  local new_entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  redis.call('HSET', job_prefix .. job, 'entry', new_entry, 'pass', pass or '')
  return letter
end
