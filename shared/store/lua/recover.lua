-- Requeues jobs whose worker went silent; never executes them. One worker at a time searches for all (`recoverer`); one that
-- dies is replaced within two thirds of a lease. believed_ms: the server's time, as the caller estimates it. After a stall
-- of the server that this call waited for, or a jump of its clock, every worker seems silent: then nothing is taken (I6).
-- cursor: where the last call stopped, empty: start from the beginning. stale_ms: an entry that was idle for longer is lost.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low wake counts suspects failover ledger recoverer organizations policies rank_slots backlogs held_organizations due
-- PREFIX job log job_channel org organization_channel usage backlog delayed ended budget
-- ARGV consumer believed_ms lease_ms stale_ms losses_max releases_max batch cursor result_ttl log_ttl usage_ttl organization_events fenced chain prices running_max
-- ITEM held
-- RETURNS {requeued, failed, ms until the next suspicious entry goes stale or -1, suspicious entries, now, whether
--   there is unfinished work (1, 0), isolated jobs that wait, or -1 when another worker searches, cursor}
-- INCLUDE release lease now organizations ending ledger spending requeueing deltas stale_entries suspicion settling letting_in policies failing

-- A write that cannot grow memory, so that recovery goes on when the server is full, and outside of any pcall: while
-- writes are refused no worker can renew its leases, and the caller must know.
redis.call('PERSIST', wake)
local function nothing(unfinished, isolated_jobs)
  return {0, 0, -1, 0, string.format('%d', now), unfinished, isolated_jobs, ''}
end
if math.abs(now - tonumber(believed_ms)) > 1000 then return nothing(1, -1) end
find_occupied()
if not next(occupied) then return nothing(0, 0) end
if not keeps_watch() then return nothing(1, -1) end

local requeued_count, failed = 0, 0

local function end_lost(job, token, record, status, outcome)
  local number = last_event_number(job, record)
  local used = add_spending(job, record.org, outcome, record.lost)
  end_job(job, record.org, token, status, cjson.encode(outcome), number, -1, number + 1, string.format('%d', now),
    brief_fields(outcome))
  if not is_counted(token) then note(record.org, 'running', 1) end
  book(status, now, settle_line(record.org, record.reserved, used), record.org)
  if record.reserved then note_freed(record.org) end
  may_have_retention(record.org, record.retained)
  release(token)
  failed = failed + 1
end

local function fail(job, token, record, kind, message)
  return end_lost(job, token, record, 'failed', {error = {type = kind, message = message, retryable = false}})
end

local function recover_lease(token, owner)
  local letter, id = string.sub(token, 1, 1), string.sub(token, 2)
  local counts_as_loss = owner ~= consumer and is_to_blame(letter, owner)
  local entry = redis.call('XRANGE', streams[letter], id, id)[1]
  local job = entry and entry[2][2]
  local record = job and read_record(job)
  if record and foreign(record.v, record.state) then return end
  if not record or record.entry ~= token or not LIVE[record.state] then return release(token) end
  local started = record.state == 'processing'
  local number = last_number(job, record)
  -- Text that was paid for and is void, unless the job ends here: the worker that runs the job next adds its cost.
  if started then record.lost = record.lost + logged_bytes(job, token, number) end
  if record.cancel then
    local text = partial_text(job, token, number)
    return end_lost(job, token, record, 'cancelled', {finishReason = 'cancelled', result = text ~= '' and text or nil})
  end
  -- A job that never started cannot have ended its worker: it is released, and releases are bounded by themselves.
  if not started then record.handbacks = record.handbacks + 1 elseif counts_as_loss then record.losses = record.losses + 1 end
  if record.losses > tonumber(losses_max) then
    return fail(job, token, record, 'WorkerLost', 'the job lost its worker too often')
  end
  if record.handbacks > tonumber(releases_max) then return fail(job, token, record, 'Damaged', 'no worker could begin it') end
  if record.reserved then record.line = add_spending(job, record.org, {}, record.lost) end
  requeue_job(job, token, record, 'worker_lost', started and math.max(record.attempt - 1, 0) or record.attempt)
  requeued_count = requeued_count + 1
end

-- Ends a job that cannot be requeued; of one whose record cannot be read only the entry is deleted.
local function give_up(token)
  local id = string.sub(token, 2)
  local job = redis.call('XRANGE', streams[string.sub(token, 1, 1)], id, id)[1][2][2]
  local f = redis.call('HMGET', job_prefix .. job, 'entry', 'org', 'retained')
  if f[1] ~= token then return end
  end_job(job, f[2], '0-0', 'failed', '{"error":{"type":"Damaged","message":"the job could not be requeued",' ..
    '"retryable":false}}', 1, -1, 2, string.format('%d', now))
  if not is_counted(token) then note(f[2], 'running', 1) end
  book('failed', now, '', f[2])
  may_have_retention(f[2], f[3])
  failed = failed + 1
end

local ok, next_stale, suspicious, stopped_at = pcall(each_stale, function(token, owner)
  if not pcall(recover_lease, token, owner) then
    pcall(give_up, token)
    pcall(release, token)
  end
  return requeued_count + failed < tonumber(batch) and measured < MEASURED_MAX * 2
end)
-- Ends are booked and workers woken, even if a later step failed.
close_books()
if let_freed_in() or requeued_count > 0 then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
if not ok then return error_of(next_stale) end
return {requeued_count, failed, next_stale, suspicious, string.format('%d', now), 1, isolated_waiting(), stopped_at}
