-- Takes the reports of calls to their gates. A provider's retry-after is kept to; without one, and after failures, the gate
-- is blocked for longer each time, at most BLOCKED_MAX_MS.
-- INCLUDE now gate_states gate_users gates serving

local FAILING_MS, LIMITED_MS, LIMITED_LEAST_MS, BLOCKED_MAX_MS = 5000, 1000, 250, 60000

local function block(name, why, ms)
  local state = gate(name)
  if state.blocked_until <= now or state.probe == 1 then state.blocks_in_a_row = state.blocks_in_a_row + 1 end
  state.blocked_until = math.max(state.probe == 1 and 0 or state.blocked_until, now + ms)
  state.why, state.probe, state.slow_start_from = why, 0, state.blocked_until
  -- One that fails may still be tested by others.
  if why == 1 then state.requests = math.max(state.requests, state.blocked_until + SLACK_MS) end
end

-- After a report the gate's jobs may run earlier or later: its queue is polled now. Returns whether jobs may wait there.
local function poll_now(name)
  gate(name).poll_at, gates_changed[name] = now, true
  return has_queue(name)
end

-- report: limited (retry in ms, below 0: the provider did not say), failed, refused or ok. organization: whose call it was.
-- Returns whether the gate became available again.
local function report_call(name, report, retry, organization)
  local state = gate(name)
  gates_changed[name] = true
  poll_now(name)
  if report == 'ok' then
    local unblocked = state.why == 2
    state.failures, state.blocks_in_a_row, state.probe = 0, 0, 0
    state.failed_by, state.failed_two = NOBODY, 0
    if unblocked then state.why, state.blocked_until, state.slow_start_from, state.requests = 0, 0, now, now + SLACK_MS end
    return unblocked
  end
  if report == 'limited' then
    block(name, 1, retry >= 0 and math.max(retry, LIMITED_LEAST_MS) or
      math.min(LIMITED_MS * 2 ^ state.blocks_in_a_row, BLOCKED_MAX_MS))
    return false
  end
  state.failures = state.failures + 1
  if not note_failure(state, organization) then return false end
  local asked_to_wait = state.why == 1 and state.blocked_until > now
  if state.probe == 1 or (state.failures >= tonumber(failures_max) and state.blocked_until <= now and not asked_to_wait) then
    block(name, 2, math.min(FAILING_MS * 2 ^ state.blocks_in_a_row, BLOCKED_MAX_MS))
  end
  return false
end
