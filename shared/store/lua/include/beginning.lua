-- Starts jobs that were delivered and may run.
-- INCLUDE adopting now lease choosing reserving throttling gate_states places overdue serving rows policies

local TOO_DEAR = 'another attempt may cost more than the budget allows'

-- Starts a job if its budget and one of its gates have room; otherwise throttles it, or returns 'held' or 'withheld'.
local function begin(token, job, f)
  local is_limited = f.max_cost or has_budget(f.org)
  local lacking = is_limited and check_budget(f)
  if lacking == 'held' or lacking == 'withheld' then return lacking end
  if lacking then
    end_unrun(job, f.org, f.lost, 'BudgetExceeded', TOO_DEAR)
    return release(token)
  end

  local name, passed_over, need = find_gate(f, string.sub(token, 1, 1))
  local attempt = tonumber(f.attempt or 0) + 1
  if name then
    lacking = is_limited and reserve(f, name)
    if lacking then return lacking end
    start(token, job, f, attempt, name)
    return answer(token, job, f, attempt, name, passed_over, need)
  end

  local wait, left = passed_over or SERVED_MS, tonumber(f.deadline) - now
  -- If it were polled sooner, an isolated job would go without a pause between this worker, which lacks its gate, and workers that
  -- have the gate but hold other jobs.
  local entry = throttle(job, f.org, f.route or FLEET, f.place or place_from(token, f.spec, f.created), f.deadline, wait,
    not passed_over and string.sub(token, 1, 1) == 'i')
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'due', string.format('%.0f', now + wait))
  note_return(f)
  soonest = math.min(soonest < 0 and wait or soonest, wait, left)
  ends_soon = ends_soon or left <= tonumber(lease_ms)
  return release(token)
end
