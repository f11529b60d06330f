-- Requeues running jobs: with a delay after an error, at once when a worker drains.
-- refund: 1 when the attempt does not count. A job whose attempts, releases or time are used up ends with `outcome` instead.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low wake counts failover ledger organizations policies rank_slots backlogs held_organizations due deadlines
-- PREFIX job log job_channel org organization_channel usage backlog delayed ended budget
-- ARGV lease_ms releases_max result_ttl log_ttl organization_events usage_ttl fenced running_max
-- ITEM consumer job token queue reason delay refund outcome spent usage waited mismatch
-- spent: cost of the job's attempts so far, as JSON; usage: the same as a line for the ledger, for one that ends. waited: ms
-- until the claim, empty: unknown. mismatch: why the text of this attempt did not fit its schema, or empty; kept for the
-- attempts that follow.
-- RETURNS {code, state}: OK, ALREADY (this lease requeued it before), LOST
-- INCLUDE batch lease clock organizations ending ledger requeueing settling letting_in policies

local wake_for_job, wake_to_poll

local function refused(job, token, reason)
  local f = redis.call('HMGET', job_prefix .. job, 'entry', 'state', 'past', 'forced')
  if f[1] == token and f[2] and f[2] ~= 'processing' and not f[4] then return {'ALREADY', f[2]} end
  if string.find(',' .. (f[3] or ''), ',' .. token .. ' ' .. reason .. ' ', 1, true) then return {'ALREADY', 'queued'} end
  return {'LOST', ''}
end

local function used_up(record, reason, delay, refund)
  if reason == 'drain' then return record.handbacks >= tonumber(releases_max) end
  if refund == '0' and record.attempt >= record.max_attempts then return true end
  return now_ms() + delay >= record.deadline
end

-- The outcome of a failed job whose customer had cancelled it: it keeps its cost.
local function cancelled(outcome)
  local ended = cjson.decode(outcome)
  ended.error, ended.finishReason = nil, 'cancelled'
  return cjson.encode(ended)
end

local replies = each_item(function(consumer, job, token, queue, reason, delay, refund, outcome, spent, usage, waited, mismatch)
  if not holds(consumer, token) then return refused(job, token, reason) end
  local record, now = read_record(job), now_ms()
  delay = tonumber(delay)
  if record.cancel or used_up(record, reason, delay, refund) then
    local number, status = last_event_number(job, record), record.cancel and 'cancelled' or 'failed'
    end_job(job, record.org, token, status, record.cancel and cancelled(outcome) or outcome, number, -1, number + 1,
      string.format('%d', now))
    if not is_counted(token) then note(record.org, 'running', 1) end
    book(status, now, settle_line(record.org, record.reserved, usage), record.org)
    if waited ~= '' then note_durations(now, waited, math.max(now - record.started, 0)) end
    if record.reserved then note_freed(record.org) end
    may_have_retention(record.org, record.retained)
    release(token)
    return {'OK', status}
  end
  if reason == 'drain' then record.handbacks = record.handbacks + 1 end
  if mismatch ~= '' then record.mismatch = mismatch end
  local attempt = record.attempt - tonumber(refund)
  if delay > 0 then
    requeue_job(job, token, record, reason, attempt, now + delay, delayed_until(job, record, now + delay), spent)
    wake_to_poll = wake_to_poll or delay <= tonumber(lease_ms)
  else
    requeue_job(job, token, record, reason, attempt, nil, nil, spent)
    if is_suspect(queue_after(record.losses)) then wake_to_poll = true else wake_for_job = true end
  end
  return {'OK', 'queued'}
end)
close_books()
if let_freed_in() then wake_for_job = true end
if wake_to_poll then redis.call('ZADD', wake, -1, 'look') end
if wake_for_job then redis.call('ZADD', wake, 0, 'job') end
return replies
