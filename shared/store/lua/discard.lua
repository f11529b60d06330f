-- Takes failed jobs out of the index: nobody means to retry them. Their records live no longer than those of other jobs.
-- KEYS tasks
-- PREFIX job task
-- ITEM job organization entry task
-- entry: of the index, empty: the one that the record names. task: counts the job as done, or empty.
-- RETURNS 1 when the job was in the index, else 0
-- INCLUDE batch failure_index

-- A write that cannot grow memory.
redis.call('PERSIST', tasks)
return each_item(function(job, organization, entry, task)
  local f = redis.call('HMGET', job_prefix .. job, 'org', 'state', 'indexed')
  local id = entry ~= '' and entry or f[1] == organization and f[2] == 'failed' and f[3] or nil
  if not id or not remove_entry(failures_prefix, organization, id) then return 0 end
  if task ~= '' then redis.call('HINCRBY', task_prefix .. task, 'done', 1) end
  if f[3] == id then shorten_life(job, id) end
  return 1
end)
