-- Ends jobs at a customer's request. A waiting job ends at once. For a running one its worker is notified and ends it; with
-- `force` it is ended here and the lease is void.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low counts cancels throttled_deadlines failover ledger organizations policies rank_slots backlogs held_organizations due
-- PREFIX job log job_channel org organization_channel control chain_set throttled throttled_by usage backlog delayed ended budget
-- ARGV result_ttl log_ttl usage_ttl organization_events fenced chain prices running_max
-- ITEM job force owner trail_entry
-- owner: the organisation that the job must belong to, empty: any. trail_entry: who asks, or empty.
-- RETURNS {code, state}: CANCELLED, REQUESTED, ENDED (before this call), MISSING, FOREIGN (for another release to end)
-- INCLUDE release batch lease clock organizations ending ledger spending requeueing leaving deltas settling job_trail policies

-- Cancel requests older than an hour that one call removes, at most.
local FORGOTTEN_MAX = 64

local function cancel_waiting(job, record)
  local now, outcome = now_ms(), {finishReason = 'cancelled'}
  local used = record.past and (add_spending(job, record.org, outcome, record.lost)) or ''
  end_job(job, record.org, '0-0', 'cancelled', cjson.encode(outcome), 1, -1, 2, string.format('%d', now), nil,
    not record.past)
  book('cancelled', now, settle_line(record.org, record.reserved, used), record.org)
  leave_place(job, record.entry, record.org, record.route)
  return {'CANCELLED', 'cancelled'}
end

local function cancel_running(job, record)
  local number = last_number(job, record)
  local outcome = {finishReason = 'cancelled'}
  local text = partial_text(job, record.entry, number)
  number = last_event_number(job, record)
  if text ~= '' then outcome.result = text end
  local extra = brief_fields(outcome)
  extra[#extra + 1], extra[#extra + 2] = 'forced', 1
  -- While nothing is known of the call, its bound counts.
  if record.reserved then extra[#extra + 1], extra[#extra + 2] = 'reserved', (settle(record.org, record.reserved, '-')) end
  end_job(job, record.org, record.entry, 'cancelled', cjson.encode(outcome), number, -1, number + 1,
    string.format('%d', now_ms()), extra)
  if not is_counted(record.entry) then note(record.org, 'running', 1) end
  book('cancelled', now_ms(), '', record.org)
  redis.call('ZREM', cancels, job)
  may_have_retention(record.org, record.retained)
  release(record.entry)
  return {'CANCELLED', 'cancelled'}
end

local replies = each_item(function(job, force, owner, trail_entry)
  -- A write that cannot grow memory, so that a cancel passes on a full server.
  redis.call('PERSIST', cancels)
  local record = read_record(job)
  if not record.state or owner ~= '' and record.org ~= owner then return {'MISSING', ''} end
  if foreign(record.v, record.state) then return {'FOREIGN', record.state} end
  if record.state == 'queued' then
    local reply = cancel_waiting(job, record)
    pcall(append_job_entry, record.org, trail_entry)
    return reply
  end
  if record.state ~= 'processing' then return {'ENDED', record.state} end
  if force == '1' then return cancel_running(job, record) end
  local now = now_ms()
  redis.call('HSET', job_prefix .. job, 'cancel', string.format('%d', now))
  local old = redis.call('ZRANGEBYSCORE', cancels, '-inf', string.format('%d', now - 3600000), 'LIMIT', 0, FORGOTTEN_MAX)
  if #old > 0 then redis.call('ZREM', cancels, unpack(old)) end
  redis.call('ZADD', cancels, string.format('%d', now), job)
  redis.call('PUBLISH', control_prefix .. (record.worker or ''), job)
  -- Once a job, however often its caller asks.
  if not record.cancel then pcall(append_job_entry, record.org, trail_entry) end
  return {'REQUESTED', 'processing'}
end)
redis.call('PEXPIRE', cancels, 3600000)
close_books()
return replies
