-- Deletes jobs that have ended: record, log and place in the listing. What an entry is left of one goes with it, so that no
-- worker holds a lease of a job that is gone: what writes to a job proves its lease first, and nothing comes back.
-- KEYS line suspect isolated requeued high normal low cancels deadlines throttled_deadlines
-- PREFIX job log index deleted backlog delayed chain_set throttled throttled_by task
-- ARGV result_ttl
-- ITEM job organization trail_entry task
-- organization: whose job it must be; empty: anybody's. trail_entry: who asks, or empty. task: counts the job as removed,
-- or empty.
-- RETURNS DELETED (also before this call), MISSING, or LIVES: it has not ended
-- INCLUDE batch release lease queues failure_index job_trail

local function theirs(organization, asked) return asked == '' or asked == organization end

-- Counts stay as they are: the job's end has counted it, whatever was left of its place.
local function forget_places(job, organization, entry, route)
  if entry and streams[string.sub(entry, 1, 1)] then release(entry) end
  for _, set in ipairs({cancels, deadlines, backlog_prefix .. organization, delayed_prefix .. organization}) do
    redis.call('ZREM', set, job)
  end
  -- Without a chain of its own a job waits in the fleet's queue.
  leave_queues(job, organization, route or '*')
end

return each_item(function(job, organization, trail_entry, task)
  local record, deleted = job_prefix .. job, deleted_prefix .. job
  local state, owner, created, entry, route =
    unpack(redis.call('HMGET', record, 'state', 'org', 'created', 'entry', 'route'))
  if not state then
    local before = redis.call('GET', deleted)
    return before and theirs(before, organization) and 'DELETED' or 'MISSING'
  end
  if not theirs(owner, organization) then return 'MISSING' end
  if not OVER[state] then return 'LIVES' end

  pcall(unindex, job, owner)
  redis.call('DEL', log_prefix .. job)
  if tonumber(created or '') then
    local day = string.format('%d', math.floor(tonumber(created) / 86400000))
    redis.call('LREM', index_prefix .. owner .. ':' .. day, 1, job)
  end
  forget_places(job, owner, entry, route)
  redis.call('SET', deleted, owner, 'PX', result_ttl)
  redis.call('DEL', record)
  if task ~= '' then redis.call('HINCRBY', task_prefix .. task, 'jobs', 1) end
  pcall(append_job_entry, owner, trail_entry)
  return 'DELETED'
end)
