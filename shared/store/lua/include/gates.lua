-- One gate per provider and model, for the whole fleet. A call passes when its gate is open and its limits have room;
-- then its share is reserved. All gates stand in one hash, read once per script, written back by save_gates; beside
-- them, as `@` and its chain, every lane in which jobs wait (parking.lua), and as `@` when one will be looked at.
-- closed_until: ms; why: 0 open, 1 the provider told us to wait, 2 too many failures in a row; failures, closings: in a
-- row; ramp_from: when it opened last; used: ms; requests, tokens: when the reserved share is used up (ms); probe: 1
-- while one call tests a failing provider.

local GATE_FIELDS = {'closed_until', 'why', 'failures', 'closings', 'ramp_from', 'used', 'requests', 'tokens', 'probe'}
local WHY = {[0] = 'limit', 'rate_limited', 'unavailable'}
-- A limit holds in any 60 s as the provider sees them: calls arrive up to 2.5 s later than they were reserved, and a
-- late one may catch up by SLACK_MS. So a minute's share is spread over their sum.
local SPREAD_MS, SLACK_MS = 63500, 1000
-- A gate that nobody used for COLD_MS or that was closed opens slowly: RAMP_START calls a second, doubled each second.
local COLD_MS, NOTE_MS, RAMP_START, RAMP_MS = 60000, 20000, 8, 7000
local PROBE_MS = 30000

local now, gate_states, gate_limits, gates_changed = now_ms(), {}, {}, {}
-- Lane -> {look at it again at (ms), turn in the priority pattern}; false: it is gone. promised: when somebody will.
local lanes, lanes_changed, promised = {}, {}, 0

local function gate(name)
  if not gate_states[name] then
    gate_states[name] = {}
    for _, field in ipairs(GATE_FIELDS) do gate_states[name][field] = 0 end
  end
  return gate_states[name]
end

local function load_gates()
  for name, rpm, tpm in string.gmatch(limits, '(%S+) (%d+) (%d+)') do
    gate_limits[name] = {rpm = tonumber(rpm), tpm = tonumber(tpm)}
  end
  -- Damage here may cost what the gates know, never a claim.
  local flat = redis.pcall('HGETALL', gates)
  for i = 1, #flat, 2 do
    local values = string.gmatch(flat[i + 1] .. string.rep(' 0', #GATE_FIELDS), '%S+')
    if flat[i] == '@' then
      promised = tonumber(values()) or 0
    elseif string.sub(flat[i], 1, 1) == '@' then
      lanes[string.sub(flat[i], 2)] = {tonumber(values()) or 0, tonumber(values()) or 0}
    else
      local state = gate(flat[i])
      for _, field in ipairs(GATE_FIELDS) do state[field] = tonumber(values()) or 0 end
    end
  end
end

local function save_gates()
  local command = {}
  for name in pairs(gates_changed) do
    local values = {}
    for i, field in ipairs(GATE_FIELDS) do values[i] = string.format('%.0f', gate(name)[field]) end
    command[#command + 1], command[#command + 2] = name, table.concat(values, ' ')
  end
  for lane in pairs(lanes_changed) do
    if lanes[lane] then
      command[#command + 1], command[#command + 2] = '@' .. lane, string.format('%.0f %d', lanes[lane][1], lanes[lane][2])
    else
      redis.pcall('HDEL', gates, '@' .. lane)
    end
  end
  if #command > 0 then redis.pcall('HSET', gates, unpack(command)) end
end

-- One worker comes back for the lanes, not all: answers `wait` (ms) to whoever is to come, -1 when another will by then.
-- Should that one die, the others look once a lease.
local function promise(wait)
  if wait <= 0 or (promised > now and promised <= now + wait) then return -1 end
  promised = now + wait
  redis.pcall('HSET', gates, '@', string.format('%.0f', promised))
  return wait
end

-- ms from one call to the next, and whether that is because the gate opens slowly.
local function spacing(state, limit)
  local since, gap = now - state.ramp_from, limit.rpm > 0 and SPREAD_MS / limit.rpm or 0
  if state.used + COLD_MS < now then since = math.min(since, 0) end
  local ramp = since < RAMP_MS and 1000 / (RAMP_START * 2 ^ (math.max(since, 0) / 1000)) or 0
  return math.max(ramp, gap), ramp > gap
end

-- How long until a call of `need` tokens may pass, in ms (0: now), and why not at once: limit, ramp (it opens slowly),
-- rate_limited or unavailable.
local function wait_of(name, need)
  local state, limit = gate(name), gate_limits[name]
  if not limit then return 0 end
  if state.closed_until > now then return state.closed_until - now, WHY[state.why] end
  local gap, ramping = spacing(state, limit)
  local wait = gap > 0 and state.requests - SLACK_MS - now or 0
  if limit.tpm > 0 then
    wait = math.max(wait, state.tokens - math.max(SLACK_MS - need * SPREAD_MS / limit.tpm, 0) - now)
  end
  return math.max(math.ceil(wait), 0), ramping and 'ramp' or WHY[0]
end

-- Reserves what one call needs of a gate that has room.
local function admit(name, need)
  local state, limit = gate(name), gate_limits[name]
  if not limit then return end
  if state.used + COLD_MS < now then state.ramp_from = now end
  -- It opens when the first call passes, however late that comes: until then nobody knows that it is open.
  if state.why == 1 then state.why, state.ramp_from, state.requests = 0, now, now + SLACK_MS end
  local gap = spacing(state, limit)
  if gap > 0 then state.requests = math.max(state.requests, now) + gap end
  if limit.tpm > 0 then state.tokens = math.max(state.tokens, now) + need * SPREAD_MS / limit.tpm end
  if state.why == 2 then state.closed_until, state.probe = now + PROBE_MS, 1 end
  if gap > 0 or limit.tpm > 0 or state.why == 2 or state.used + NOTE_MS < now then
    state.used, gates_changed[name] = now, true
  end
end
