-- Retries: of each job that failed or was cancelled at most one new job is made, whose id its record keeps (`retried_as`).
-- PREFIX task
-- ARGV result_ttl
-- INCLUDE clock failure_index

-- The state of a job that an idempotency key answers, nil: none does. A failed job is kept for longer than others, and
-- answered as long as they are.
local function answered_state(record)
  local f = redis.call('HMGET', record, 'state', 'ended')
  if f[1] == 'failed' and now_ms() - tonumber(f[2] or 0) > tonumber(result_ttl) then return end
  return f[1] or nil
end

-- The answer to a retry of a job that was retried before, or is gone. ended: the job to retry.
local function retried_before(ended, organization)
  local f = redis.call('HMGET', job_prefix .. ended, 'org', 'retried_as')
  if f[1] ~= organization then return {'GONE', ended, ''} end
  if f[2] then return {'SAME', f[2], redis.call('HGET', job_prefix .. f[2], 'state') or ''} end
end

-- kept: what the old record keeps of its spec: the new job has the prompt. task: that redrives it, or empty.
local function note_retry(ended, organization, job, kept, task)
  pcall(unindex, ended, organization)
  if task ~= '' then redis.call('HINCRBY', task_prefix .. task, 'done', 1) end
  redis.call('HSET', job_prefix .. ended, 'retried_as', job, 'spec', kept)
end
