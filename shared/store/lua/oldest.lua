-- Finds the age of the oldest claimable job.
-- KEYS requeued suspect isolated high normal low
-- RETURNS ms, 0 when nothing waits
-- INCLUDE clock lease

local now, oldest = now_ms(), 0
for _, stream in pairs(streams) do
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local delivered
    for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then delivered = group[i + 1] end end
    local entry = redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', 1)[1]
    if entry then oldest = math.max(oldest, now - tonumber(string.match(entry[1], '^%d+'))) end
  end
end
return oldest
