-- Ends waiting jobs whose time is over, wherever they wait. `deadlines` names, by deadline, those whose caller set one; the
-- others stand in the order of their deadlines in the streams of new jobs.
-- INCLUDE now ending ledger spending

-- Ends a job that no worker holds; its place is for the caller to clear. lost: bytes of text that went down with workers.
local function end_unrun(job, organization, lost, kind, message)
  local outcome = {error = {type = kind, message = message, retryable = false}}
  local used = add_spending(job, organization, outcome, tonumber(lost or 0))
  end_job(job, organization, '0-0', 'failed', cjson.encode(outcome), 1, -1, 2, string.format('%.0f', now))
  book('failed', now, used)
end

local function end_overdue(job, organization, lost)
  end_unrun(job, organization, lost, 'DeadlineExceeded', 'the deadline passed before the job could run')
end
