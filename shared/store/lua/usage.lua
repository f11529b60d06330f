-- Reads what an organisation used, day by day. One script sees both halves of a day: a fold between two reads would
-- lose lines or show them twice.
-- KEYS ledger
-- PREFIX usage
-- ARGV organization
-- ITEM day
-- RETURNS {fields and packed sums, lines of the ledger without status, day and organisation} per day
-- INCLUDE batch

local lines, recent = {}, redis.pcall('LRANGE', ledger, 0, -1)
for _, line in ipairs(recent) do
  local day, whose, used = string.match(line, '^%S+ (%d+) (%S+) (.*)$')
  if whose == organization then
    lines[day] = lines[day] or {}
    table.insert(lines[day], used)
  end
end

return each_item(function(day)
  if recent.err then error(recent) end
  return {redis.call('HGETALL', usage_prefix .. organization .. ':' .. day), lines[day] or {}}
end)
