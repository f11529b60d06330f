-- Delayed jobs wait by organisation (`delayed:<organisation>`, by due time); `due` has the organisations by the due time of
-- their first job.

-- Returns the job's new entry.
local function delay_job(organization, job, due_at)
  local at = string.format('%d', due_at)
  redis.call('ZADD', delayed_prefix .. organization, at, job)
  redis.call('ZADD', due, 'LT', at, organization)
  return 'd'
end
