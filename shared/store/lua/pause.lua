-- Pauses the queue or a gate, or resumes it.
-- KEYS wake gates failover audit_trail
-- PREFIX wake control
-- ARGV name pause organization entry trail_length chain limits
-- name: `queue`, or a gate's. pause: 1, or 0 to resume. organization: to which the entry of the audit trail belongs.
-- RETURNS 1 when that changed anything, else 0
-- INCLUDE settled pausing audit_trail

note_settled(redis.call('HGET', gates, SETTLED))
if is_paused(name) == (pause == '1') then return 0 end

local words = settled_but(function(word) return word == name end)
if pause == '1' then words[#words + 1] = name end
write_settled(words)
if pause == '0' then
  if name ~= QUEUE then look_at(name) end
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end
append_entry(organization, entry)
return 1
