-- Marks, once in each term of a master, the last entry that every stream had when it took over.
-- KEYS line suspect isolated requeued high normal low failover
-- ARGV term
-- RETURNS 1 when this term was not known, else 0

local before = redis.call('HGET', failover, 'term')
if before == term then return 0 end
-- A write that cannot grow memory first: this must work on a full server too.
redis.call('PERSIST', failover)
local marks = {'term', term}
if before then
  for letter, stream in pairs({q = line, s = suspect, i = isolated, a = requeued, h = high, n = normal, l = low}) do
    -- A stream that does not exist yet has nothing to mark.
    local info = redis.pcall('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then marks[#marks + 1], marks[#marks + 2] = letter, info[i + 1] end
    end
  end
end
redis.call('HSET', failover, unpack(marks))
return 1
