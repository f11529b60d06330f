-- Settles the limits of a gate, for the whole fleet, while it runs.
-- KEYS wake gates failover audit_trail
-- PREFIX wake control
-- ARGV name rpm tpm organization entry trail_length chain limits
-- rpm, tpm: requests and tokens a minute, 0: no limit; `-`: as the workers are set up, empty: as before.
-- RETURNS 1
-- INCLUDE now gate_states pausing audit_trail

local before_rpm, before_tpm = '-', '-'
local words = settled_but(function(word)
  local whose, old_rpm, old_tpm = string.match(word, '^(.+)=([%d-]+),([%d-]+)$')
  if whose ~= name then return false end
  before_rpm, before_tpm = old_rpm, old_tpm
  return true
end)
local new_rpm, new_tpm = rpm == '' and before_rpm or rpm, tpm == '' and before_tpm or tpm
if new_rpm ~= '-' or new_tpm ~= '-' then words[#words + 1] = string.format('%s=%s,%s', name, new_rpm, new_tpm) end
write_settled(words)

-- Shares that were reserved by the old limits would keep calls from passing by the new ones.
local state = gate(name)
state.requests, state.tokens = math.min(state.requests, now), math.min(state.tokens, now)
poll_gate(name)
redis.call('ZADD', wake, -1, 'look', 0, 'job')
append_entry(organization, entry)
return 1
