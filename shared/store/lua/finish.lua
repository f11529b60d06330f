-- Ends running jobs: completed, failed or cancelled, decided by the worker that holds the lease.
-- KEYS line suspect isolated requeued high normal low counts ledger organizations policies rank_slots backlogs held_organizations wake
-- PREFIX job log job_channel org organization_channel usage backlog ended budget
-- ARGV result_ttl log_ttl organization_events usage_ttl running_max
-- ITEM consumer job organization token status outcome number offset final ended spec usage brief logged capped budgeted retained waited ran
-- spec: the part of the request that the record keeps. usage: the job's line for the ledger, or empty. brief: a long
-- outcome without its text, else empty. logged: 1 when the log had events before this lease. capped: 1 when the
-- organisation has a cap on running jobs. budgeted, retained: 1 when it had a budget, or a retention, at the claim. waited,
-- ran: ms until and since the claim.
-- RETURNS OK, ALREADY (this lease ended it before), LATE (a cancel was forced; usage and cost were kept), LOST
-- INCLUDE batch lease clock ending ledger settling letting_in policies

local function refused(job, organization, token, status, outcome, usage, brief)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'entry', 'state', 'forced', 'reserved')
  if f[1] ~= token or f[2] == 'processing' then return 'LOST' end
  if f[3] then
    if redis.call('HSETNX', record, 'late', brief ~= '' and brief or outcome) == 0 then return 'LOST' end
    -- The bound counted so far, also of a call that was never made.
    if f[4] and usage == '' then settle(organization, f[4], 0) end
    if usage ~= '' then book('-', now_ms(), settle_line(organization, f[4], usage), organization) end
    if f[4] then note_freed(organization) end
    return 'LATE'
  end
  return f[2] == status and 'ALREADY' or 'LOST'
end

local replies = each_item(function(consumer, job, organization, token, status, outcome, number, offset, final,
                                   ended, spec, usage, brief, logged, capped, budgeted, retained, waited, ran)
  if not give_up_lease(token) then return refused(job, organization, token, status, outcome, usage, brief) end
  local extra = brief ~= '' and {'spec', spec, 'brief', brief} or {'spec', spec}
  local ok, failure = pcall(end_job, job, organization, token, status, outcome, number, offset, final, ended, extra,
    logged ~= '1' and tonumber(number) <= 1)
  if not ok then
    restore_lease(consumer, token)
    error(failure, 0)
  end
  -- From here on the job has ended: it is counted, and its entry deleted, even if a later step fails.
  if budgeted == '1' then
    usage = settle_line(organization, redis.call('HGET', job_prefix .. job, 'reserved'), usage)
  end
  book(status, ended, usage, organization)
  note_durations(ended, waited, ran)
  if capped == '1' then freed[organization] = true end
  if budgeted == '1' then note_freed(organization) end
  may_have_retention(organization, retained)
  forget_entry(token)
  return 'OK'
end)
close_books()

-- An end lets an organisation in that was at its cap or its budget.
local may_let_in = is_made('letting_in') or is_made('budgets')
if may_let_in and let_freed_in() then redis.call('ZADD', wake, 0, 'job') end
return replies
