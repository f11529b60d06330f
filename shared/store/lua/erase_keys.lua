-- Deletes keys of an organisation that is deleted.
-- KEYS tasks
-- ITEM key
-- RETURNS how many of it there were, 0 or 1
-- INCLUDE batch

-- A write that cannot grow memory.
redis.call('PERSIST', tasks)
return each_item(function(key) return redis.call('DEL', key) end)
