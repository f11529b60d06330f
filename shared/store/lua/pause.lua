-- Pauses the queue or a gate, or resumes it. A gate that is not paused is resumed from a block: its next call finds out whether the
-- provider is back.
-- KEYS wake gates failover audit_trail
-- PREFIX wake control
-- ARGV name pause organization entry trail_length chain limits
-- name: `queue`, or a gate's. pause: 1, or 0 to resume. organization: to which the entry of the audit trail belongs.
-- RETURNS 1 when that changed anything, else 0
-- INCLUDE now gate_states settled pausing audit_trail

note_settled(redis.call('HGET', gates, SETTLED))
local was_paused = is_paused(name)

-- A gate that one call tests now is left to it.
local function is_blocked()
  if name == QUEUE or was_paused then return false end
  local state = gate(name)
  return state.blocked_until > now and state.probe == 0
end

local function end_block()
  local state = gate(name)
  state.blocked_until, state.slow_start_from, state.requests = now, now, math.min(state.requests, now)
end

local unblocks = pause == '0' and is_blocked()
if was_paused == (pause == '1') and not unblocks then return 0 end

if unblocks then
  redis.call('PERSIST', gates)
  end_block()
else
  local words = settled_but(function(word) return word == name end)
  if pause == '1' then words[#words + 1] = name end
  write_settled(words)
end
if pause == '0' then
  if name ~= QUEUE then poll_gate(name) end
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end
append_entry(organization, entry)
return 1
