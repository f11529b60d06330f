-- Keeps a clock for each organisation with a limit of tokens a minute and each gate: when (ms) the tokens are paid that its
-- calls took or reserved there, and the limit by which that was counted: `<ms> <tokens a minute>`, gone when they are.
-- PREFIX token_clock
-- INCLUDE now gates

local token_clocks = {}

local function clock_key(name, organization) return token_clock_prefix .. organization .. ':' .. name end

-- When the tokens are paid, at `per_minute`; the present time if they are.
local function clock_of(name, organization, per_minute)
  local key = clock_key(name, organization)
  if not token_clocks[key] then
    local found = redis.pcall('GET', key)
    local at, counted_by = string.match(type(found) == 'string' and found or '', '^(%d+) (%d+)$')
    token_clocks[key] = {at = tonumber(at) or 0, counted_by = tonumber(counted_by) or 0}
  end
  local clock = token_clocks[key]
  return now + math.max(clock.at - now, 0) * clock.counted_by / per_minute
end

-- Ms until an organisation may use `need` tokens of a gate; like the gate's own limit it lets calls pass by SLACK_MS sooner.
local function clock_wait(name, organization, per_minute, need)
  local slack = math.max(SLACK_MS - need * SPREAD_MS / per_minute, 0)
  return math.max(math.ceil(clock_of(name, organization, per_minute) - now - slack), 0)
end

-- Charges an organisation for the tokens of a call, or for the difference to its reservation. per_minute: 0: no limit.
local function charge_clock(name, organization, per_minute, tokens)
  if per_minute == 0 or tokens == 0 then return end
  local key = clock_key(name, organization)
  local at = clock_of(name, organization, per_minute) + tokens * SPREAD_MS / per_minute
  token_clocks[key] = {at = at, counted_by = per_minute}
  local left = math.ceil(at - now)
  if left > 0 then
    redis.call('SET', key, string.format('%.0f %.0f', at, per_minute), 'PX', string.format('%.0f', left))
  else
    redis.call('DEL', key)
  end
end
