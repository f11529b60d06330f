-- Lets calls pass a gate: when it is available and its limits have room; then the call's share is reserved.
-- INCLUDE now gate_states own_gates settled gate_users

-- A limit holds in any 60 s as the provider sees them: calls arrive up to 2.5 s later than they were reserved, and a
-- late one may catch up by SLACK_MS. So the calls of a minute are spread over the sum of the three.
local SPREAD_MS, SLACK_MS = 63500, 1000
-- A gate that was unused for COLD_MS or blocked starts slowly: SLOW_START_RATE calls a second,
-- doubled each second.
local COLD_MS, SLOW_START_RATE, SLOW_START_MS = 60000, 8, 7000
local PROBE_MS = 30000
-- Reasons to wait, by a state's `why`.
local WHY = {[0] = 'limit', 'rate_limited', 'unavailable'}
-- A paused gate is asked again after PAUSED_MS, or when it is resumed.
local PAUSED_MS = 60000

-- Returns ms from one call to the next, and whether the slow start is the reason.
local function spacing(state, limit)
  local since, gap = now - state.slow_start_from, limit.rpm > 0 and SPREAD_MS / limit.rpm or 0
  if state.used + COLD_MS < now then since = math.min(since, 0) end
  local slow_start = since < SLOW_START_MS and 1000 / (SLOW_START_RATE * 2 ^ (math.max(since, 0) / 1000)) or 0
  return math.max(slow_start, gap), slow_start > gap
end

-- Returns ms until a call of `need` tokens may pass (0: now), and the reason to wait: limit, slow_start, rate_limited,
-- unavailable or paused. organization: nil: the one that waits for the shortest time.
local function wait_of(name, need, organization)
  if is_paused(name) then return PAUSED_MS, 'paused' end
  local limit = gate_limits[name]
  if not limit then return 0 end
  local state = gate(name)
  if is_blocked_for(state, organization) then return state.blocked_until - now, WHY[state.why] end
  local gap, starting_slowly = spacing(state, limit)
  local wait = gap > 0 and state.requests - SLACK_MS - now or 0
  if limit.tpm > 0 then
    wait = math.max(wait, debt_for(state, organization) - math.max(SLACK_MS - need * SPREAD_MS / limit.tpm, 0))
  end
  return math.max(math.ceil(wait), 0), starting_slowly and 'slow_start' or WHY[0]
end

-- Reserves the share of one call at a gate that has room; `need`: tokens.
local function admit(name, need, organization)
  local limit = gate_limits[name]
  if not limit then return end
  local state = gate(name)
  if state.used + COLD_MS < now then state.slow_start_from = now end
  -- The slow start begins with the first call, however late: until then it is unknown whether the provider is back.
  if state.why == 1 then state.why, state.slow_start_from, state.requests = 0, now, now + SLACK_MS end
  local gap = spacing(state, limit)
  if gap > 0 then state.requests = math.max(state.requests, now) + gap end
  if limit.tpm > 0 then charge(state, need * SPREAD_MS / limit.tpm, organization) end
  if state.why == 2 and not (is_open_to_others(state) and organization ~= state.failed_by) then
    state.blocked_until, state.probe = now + PROBE_MS, 1
  end
  local is_news = note_user(state, organization)
  if is_news or gap > 0 or limit.tpm > 0 or state.why == 2 or state.used + NOTE_MS < now then
    state.used, gates_changed[name] = now, true
  end
end
