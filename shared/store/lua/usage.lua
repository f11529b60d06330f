-- Reads an organisation's usage, day by day, up to a bound. One script reads both parts of a day, sums and lines: a fold
-- between two reads would lose lines or count them twice.
-- KEYS ledger
-- PREFIX usage
-- ARGV organization fields_max
-- ITEM day
-- RETURNS {fields and packed sums, lines of the ledger without status, day and organisation} per day. From the day
--   that would exceed `fields_max` fields: LATER. A day that exceeds it alone: {number of fields, lines}; it is read in pieces
-- INCLUDE batch

local lines, recent = {}, redis.pcall('LRANGE', ledger, 0, -1)
for _, line in ipairs(recent) do
  local day, whose, used = string.match(line, '^%S+ (%d+) (%S+) (.*)$')
  if whose == organization then
    lines[day] = lines[day] or {}
    table.insert(lines[day], used)
  end
end

local most, left = tonumber(fields_max), tonumber(fields_max)
return each_item(function(day)
  if recent.err then error(recent) end
  if left < 0 then return 'LATER' end
  local hash = usage_prefix .. organization .. ':' .. day
  local length = redis.call('HLEN', hash)
  if length > most then return {length, lines[day] or {}} end
  left = left - length
  if left < 0 then return 'LATER' end
  return {length > 0 and redis.call('HGETALL', hash) or {}, lines[day] or {}}
end)
