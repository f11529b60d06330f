-- Ends waiting jobs whose deadline has passed. `deadlines` has, by deadline, those whose caller set one; the others are in
-- the order of their deadlines in the streams of new jobs.
-- INCLUDE now ending ledger spending

-- Ends a job that no worker holds; the caller removes it from the place where it waited. lost: bytes of text that were lost
-- with workers.
local function end_unrun(job, organization, lost, kind, message)
  local outcome = {error = {type = kind, message = message, retryable = false}}
  local used = add_spending(job, organization, outcome, tonumber(lost or 0))
  end_job(job, organization, '0-0', 'failed', cjson.encode(outcome), 1, -1, 2, string.format('%.0f', now))
  book('failed', now, used, organization)
end

local function end_overdue(job, organization, lost)
  end_unrun(job, organization, lost, 'DeadlineExceeded', 'the deadline passed before the job could run')
end
