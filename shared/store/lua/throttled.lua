-- Counts the jobs that wait in the queues of gates, of all organisations. It writes nothing.
-- KEYS gates
-- PREFIX throttled throttled_by
-- ITEM queue
-- queue: a gate, or `*`: jobs that name no chain.
-- RETURNS jobs per queue
-- INCLUDE batch

return each_item(function(queue)
  local sum = 0
  for _, organization in ipairs(redis.call('ZRANGE', throttled_by_prefix .. queue, 0, -1)) do
    sum = sum + redis.call('ZCARD', throttled_prefix .. queue .. ' ' .. organization)
  end
  return sum
end)
