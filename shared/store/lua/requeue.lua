-- Gives running jobs back: after an error with a delay, at a drain at once.
-- refund: the attempt is given back. A job whose attempts, hand-backs or time are used up ends with `outcome` instead.
-- KEYS again suspect isolated high normal low due_high due_normal due_low wake counts failover ledger
-- PREFIX job log bell org orgbell usage
-- ARGV lease_ms handbacks_max result_ttl log_ttl organization_events usage_ttl fenced
-- ITEM consumer job token lane reason delay refund outcome spent usage
-- spent: what the job's attempts cost so far, as JSON; usage: the same for the ledger, for one that ends.
-- RETURNS {code, state}: OK, ALREADY (this lease gave it back before), LOST
-- INCLUDE batch lease clock ending ledger requeueing

local ring_job, ring_look

local function refused(job, token, reason)
  local f = redis.call('HMGET', job_prefix .. job, 'entry', 'state', 'past', 'forced')
  if f[1] == token and f[2] and f[2] ~= 'processing' and not f[4] then return {'ALREADY', f[2]} end
  if string.find(',' .. (f[3] or ''), ',' .. token .. ' ' .. reason .. ' ', 1, true) then return {'ALREADY', 'queued'} end
  return {'LOST', ''}
end

local function used_up(record, reason, delay, refund)
  if reason == 'drain' then return record.handbacks >= tonumber(handbacks_max) end
  if refund == '0' and record.attempt >= record.max_attempts then return true end
  return now_ms() + delay >= record.deadline
end

-- What a failed job cost was spent all the same when its customer had cancelled it.
local function cancelled(outcome)
  local told = cjson.decode(outcome)
  told.error, told.finishReason = nil, 'cancelled'
  return cjson.encode(told)
end

local replies = each_item(function(consumer, job, token, lane, reason, delay, refund, outcome, spent, usage)
  if not holds(consumer, token) then return refused(job, token, reason) end
  local record, now = read_record(job), now_ms()
  delay = tonumber(delay)
  if record.cancel or used_up(record, reason, delay, refund) then
    local number, status = last_told(job, record), record.cancel and 'cancelled' or 'failed'
    end_job(job, record.org, token, status, record.cancel and cancelled(outcome) or outcome, number, -1, number + 1,
      string.format('%d', now))
    book(status, now, usage)
    release(token)
    return {'OK', status}
  end
  if reason == 'drain' then record.handbacks = record.handbacks + 1 end
  local attempt = record.attempt - tonumber(refund)
  if delay > 0 then
    put_back(job, token, record, reason, attempt, now + delay, delayed_in(lane, job, now + delay), spent)
    ring_look = ring_look or delay <= tonumber(lease_ms)
  else
    put_back(job, token, record, reason, attempt, nil, nil, spent)
    if is_suspect(lane_after(record.losses)) then ring_look = true else ring_job = true end
  end
  return {'OK', 'queued'}
end)
if ring_look then redis.call('ZADD', wake, -1, 'look') end
if ring_job then redis.call('ZADD', wake, 0, 'job') end
close_books()
return replies
