-- Delayed jobs wait by organisation (`delayed:<organisation>`, by due time); `due` has, by organisation, when the first of them
-- is due.

-- Answers the job's new entry.
local function delay_job(organization, job, due_at)
  local at = string.format('%d', due_at)
  redis.call('ZADD', delayed_prefix .. organization, at, job)
  redis.call('ZADD', due, 'LT', at, organization)
  return 'd'
end
