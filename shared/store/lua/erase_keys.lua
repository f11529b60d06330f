-- Deletes keys of an organisation that is deleted.
-- KEYS tasks
-- PREFIX task
-- ARGV task
-- ITEM key
-- task: counts the keys as removed; or empty.
-- RETURNS how many of it there were, 0 or 1
-- INCLUDE batch

-- A write that cannot grow memory.
redis.call('PERSIST', tasks)
return each_item(function(key)
  local removed = redis.call('DEL', key)
  if removed > 0 and task ~= '' then redis.call('HINCRBY', task_prefix .. task, 'keys', removed) end
  return removed
end)
