-- Reports to gates the calls that were answered, or failed after the first token.
-- KEYS wake gates
-- PREFIX throttled throttled_by wake
-- ARGV limits chain lease_ms failures_max
-- ITEM gate report retry tokens organization token_limit
-- report: ok, limited or failed, or empty. tokens: tokens used less tokens reserved. organization: whose call it was, empty:
-- that is unknown; token_limit: its own there, a minute, 0: none.
-- RETURNS 1 when the gate became available again, else 0
-- INCLUDE batch gate_states own_gates gate_users gates serving gate_reports token_clocks

-- A write that cannot grow memory first, so that reports work on a full server.
redis.call('PERSIST', gates)
load_gates()
local ready, sooner = {}, {}

-- Charges an organisation; one that used less than it had reserved rests no longer than it must. Returns whether it rests.
local function charge_organization(name, organization, token_limit, tokens)
  charge_clock(name, organization, token_limit, tokens)
  if tokens >= 0 or not has_queue(name) then return false end
  local ends_at = math.ceil(clock_of(name, organization, token_limit))
  rest_in(name, organization, ends_at, 'LT')
  if in_chain[name] then rest_in(FLEET, organization, ends_at, 'LT') end
  return true
end

local replies = each_item(function(name, report, retry, tokens, organization, token_limit)
  local state, limit = gate(name), gate_limits[name]
  if organization == '' then organization = NOBODY end
  if limit and limit.tpm > 0 and tokens ~= '0' then
    charge(state, tonumber(tokens) * SPREAD_MS / limit.tpm, organization)
    gates_changed[name] = true
    if poll_now(name) and tonumber(tokens) < 0 then ready[name] = true end
  end
  if token_limit ~= '0' and charge_organization(name, organization, tonumber(token_limit), tonumber(tokens)) then
    sooner[name] = true
  end
  local unblocked = report ~= '' and report_call(name, report, tonumber(retry), organization)
  if unblocked and poll_now(name) then ready[name] = true end
  return unblocked and 1 or 0
end)
save_gates()
for name in pairs(ready) do wake_for(name, 'job') end
for name in pairs(sooner) do wake_for(name, 'look') end
return replies
