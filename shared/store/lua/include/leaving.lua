-- Removes a waiting job that has ended from its place. It is counted as running until the ledger is folded.
-- INCLUDE lease organizations backlog queues quotas suspect_line policies

-- Delayed jobs of an older release, by priority.
local due_sets = {h = due_high, n = due_normal, l = due_low}

-- route: the chain of its own, if it has one.
local function leave_place(job, entry, organization, route)
  local letter = string.sub(entry, 1, 1)
  note(organization, 'running', 1)
  if is_counted(entry) then
    note_waiting(organization, -1, redis.call('HSTRLEN', job_prefix .. job, 'spec'), route)
  end
  if entry == 'bs' then
    redis.call('ZREM', suspect_backlog_prefix .. organization, job)
  elseif letter == 'b' then
    redis.call('ZREM', backlog_prefix .. organization, job)
    -- It may be the job for which there is no room.
    if has_budget(organization) then check_soon(organization) end
  elseif letter == 't' or letter == 'p' then
    leave_queues(job, organization, string.sub(entry, 2))
  elseif entry == 'd' then
    redis.call('ZREM', delayed_prefix .. organization, job)
    if redis.call('EXISTS', delayed_prefix .. organization) == 0 then redis.call('ZREM', due, organization) end
  elseif letter == 'd' then
    redis.call('ZREM', due_sets[string.sub(entry, 2)], job)
  else
    release(entry)
    if letter == 'q' then
      note(organization, 'placed', -1)
      refill(organization)
    elseif letter == 's' then
      pcall(follow_suspect, organization)
    end
  end
end
