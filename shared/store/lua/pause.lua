-- Pauses the queue or a gate, or resumes it. Claims read what is paused with the gates, or where they read none, with the
-- marks of fail-overs.
-- KEYS wake gates failover audit_trail
-- PREFIX wake
-- ARGV name pause organization entry trail_length chain limits
-- name: `queue`, or a gate's. pause: 1, or 0 to resume. organization: to which the entry of the audit trail belongs.
-- RETURNS 1 when that changed anything, else 0
-- INCLUDE now gate_states audit_trail

note_pauses(redis.call('HGET', gates, PAUSES))
if is_paused(name) == (pause == '1') then return 0 end

-- A write that cannot grow memory first, so that a pause works on a full server.
redis.call('PERSIST', gates)
paused[name] = pause == '1' or nil
local words = {PAUSES_START}
for word in pairs(paused) do
  if not string.find(word, '^%d+$') then words[#words + 1] = word end
end
if words[2] then
  redis.call('HSET', gates, PAUSES, table.concat(words, ' '))
  redis.call('HSET', failover, PAUSES, table.concat(words, ' '))
else
  redis.call('HDEL', gates, PAUSES)
  redis.call('HDEL', failover, PAUSES)
end

-- Its jobs are looked at now; so does each worker that comes later.
if pause == '0' then
  if name ~= QUEUE then
    gate(name).poll_at, gates_changed[name] = now, true
    save_gates()
    redis.call('ZADD', wake_prefix .. name, -1, 'look', 0, 'job')
    redis.call('PEXPIRE', wake_prefix .. name, 3600000)
  end
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end
append_entry(organization, entry)
return 1
