-- Reads what an organisation used, day by day. One script sees both halves of a day: a fold between two reads would
-- lose lines or show them twice.
-- PREFIX ledger usage
-- ARGV organization
-- ITEM day
-- RETURNS {fields and packed sums, lines} per day
-- INCLUDE batch

return each_item(function(day)
  local key = organization .. ':' .. day
  return {redis.call('HGETALL', usage_prefix .. key), redis.call('LRANGE', ledger_prefix .. key, 0, -1)}
end)
