-- Reads how long jobs waited and ran. One script reads both parts, sums and lines: a fold between two reads would lose lines or
-- count them twice.
-- KEYS ledger
-- PREFIX durations
-- ARGV first_hour last_hour
-- first_hour, last_hour: since the epoch, in which the jobs ended.
-- RETURNS {sums of each hour, or ''...}, {lines of the ledger}

local sums, lines = {}, {}
for _, text in ipairs(redis.pcall('LRANGE', ledger, 0, -1)) do
  if string.sub(text, 1, 10) == 'durations:' then lines[#lines + 1] = text end
end

local names = {}
for hour = tonumber(first_hour), tonumber(last_hour) do names[#names + 1] = durations_prefix .. string.format('%d', hour) end
for i, packed in ipairs(redis.call('MGET', unpack(names))) do sums[i] = packed or '' end
return {sums, lines}
