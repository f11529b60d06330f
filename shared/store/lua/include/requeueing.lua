-- Requeues a job that has a lease, the only way to. The record's `past` has of every earlier lease the facts that a reader
-- needs to replay it: token, reason, attempt, start and the number of its last event, the `retrying` written here.
-- INCLUDE clock lease announce predating organizations backlog delaying places settling letting_in

local LOST_EVENTS = 1000
local FIELDS = {'state', 'entry', 'org', 'attempt', 'max_attempts', 'deadline', 'losses', 'handbacks', 'past', 'base',
  'cancel', 'started', 'worker', 'lost', 'v', 'place', 'created', 'reserved', 'route', 'retained'}

local function read_record(job)
  local values, record = redis.call('HMGET', job_prefix .. job, unpack(FIELDS)), {}
  for i, name in ipairs(FIELDS) do record[name] = values[i] end
  for _, name in ipairs({'attempt', 'max_attempts', 'deadline', 'losses', 'handbacks', 'base', 'started', 'lost'}) do
    record[name] = tonumber(record[name] or 0)
  end
  return record
end

-- The number of the last event that the current lease has in the log (1: only `processing`, which is implied).
local function last_number(job, record)
  local log = log_prefix .. job
  local number = redis.call('HLEN', log) - record.base + 1
  local function logged(n) return redis.call('HEXISTS', log, record.entry .. '.' .. n) == 1 end
  if not logged(number + 1) then return number end
  -- After a fail-over that lost events the count is too low, but no number may name a second event. A lease logs without
  -- holes, so its last event is found in steps that double, and then halve.
  local step = 1
  while logged(number + step) do number, step = number + step, step * 2 end
  while step > 1 do
    step = step / 2
    if logged(number + step) then number = number + step end
  end
  return number
end

-- The number before that of the next event. Events of a lease from before a fail-over may be lost after readers had them:
-- skipped numbers show these readers a gap, and no number names two events (I10).
local function last_event_number(job, record)
  local number = last_number(job, record)
  return predates(record.entry) and number + LOST_EVENTS or number
end

local function place_of(job, record)
  return record.place or place_from('', redis.call('HGET', job_prefix .. job, 'spec') or '', record.created)
end

local function make_claimable(job, record)
  return enter(record.org, job, place_of(job, record), record.losses, record.deadline)
end

-- The place of a job that is due later, for requeue_job.
local function delayed_until(job, record, due_at)
  return function() return delay_job(record.org, job, due_at) end
end

-- Counts a job that ran as one that waits again.
local function note_requeue(job, token, organization, route)
  if is_counted(token) then note(organization, 'running', -1) end
  note_waiting(organization, 1, redis.call('HSTRLEN', job_prefix .. job, 'spec'), route)
end

-- Requeues a job whose lease is `token`: at once, or where `wait` says, until `due_at`. spent: cost of earlier attempts
-- (JSON, empty: unchanged); record.lost: bytes of text that were lost with their workers and are not in it yet; record.line:
-- the same as a line, with that text; record.mismatch: why the text did not fit its schema.
local function requeue_job(job, token, record, reason, attempt, due_at, wait, spent)
  local number = last_event_number(job, record) + 1
  local event = {reason = reason, attempt = record.attempt}
  if due_at then event.nextAttemptMs = due_at end
  -- First, as it is the only write that can fail: on a log that is no hash.
  redis.call('HSET', log_prefix .. job, token .. '.' .. number, 'r' .. cjson.encode(event))
  note_requeue(job, token, record.org, record.route)
  local total = record.line and cost_of_line(record.line) or cost_of_spent(spent)
  local reserved = record.reserved and settle(record.org, record.reserved, total)
  if reserved then note_freed(record.org) end
  local entry = wait and wait() or make_claimable(job, record)
  local past = (record.past and record.past .. ',' or '') ..
    table.concat({token, reason, record.attempt, string.format('%d', record.started), number}, ' ')
  local base = redis.call('HLEN', log_prefix .. job)
  local extra = {}
  if spent and spent ~= '' then extra = {'spent', spent, 'lost', 0} elseif record.lost > 0 then extra = {'lost', record.lost} end
  if reserved then extra[#extra + 1], extra[#extra + 2] = 'reserved', reserved end
  if record.mismatch then extra[#extra + 1], extra[#extra + 2] = 'mismatch', record.mismatch end
  redis.call('HSET', job_prefix .. job, 'state', 'queued', 'entry', entry, 'attempt', attempt, 'losses', record.losses,
    'handbacks', record.handbacks, 'past', past, 'base', base, 'due', string.format('%d', due_at or now_ms()), 'place', place_of(job, record), unpack(extra))
  announce(job, record.org, token .. '.' .. number, 'retrying')
  release(token)
end
