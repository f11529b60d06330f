-- Finds the age of the oldest claimable job: the next one of each organisation is in the line, or in that of suspects.
-- KEYS line suspect isolated requeued high normal low gates
-- PREFIX job
-- RETURNS ms, 0 when nothing waits, or the queue is paused
-- INCLUDE now lease settled

-- Entries of the line that are read.
local PAGE = 64

local oldest = 0
note_settled(redis.call('HGET', gates, SETTLED))
if is_paused(QUEUE) then return 0 end

-- A job waits since it was submitted, due or requeued; it may have come to the line later.
local function ready_at(entry)
  local f = redis.pcall('HMGET', job_prefix .. entry[2][2], 'due', 'created')
  if f.err then return now end
  local due = tonumber(f[1] or 0) or 0
  return due > 0 and due or tonumber(f[2] or now) or now
end

for letter, stream in pairs(streams) do
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local delivered
    for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then delivered = group[i + 1] end end
    for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', letter == 'q' and PAGE or 1)) do
      local since = (letter == 'q' or letter == 's') and ready_at(entry) or tonumber(string.match(entry[1], '^%d+'))
      oldest = math.max(oldest, now - since)
    end
  end
end
return oldest
