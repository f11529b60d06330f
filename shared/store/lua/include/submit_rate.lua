-- Submits of an organisation in its present minute, which begins with the first of them and is counted in a key that
-- lives as long. However many jobs a call takes, it is read once and written once: 2 commands, none without a limit.

local MINUTE_MS = 60000
local minutes = {}

local function minute_of(organization)
  if not minutes[organization] then
    minutes[organization] = {before = tonumber(redis.call('GET', submits_prefix .. organization) or 0), here = 0}
  end
  return minutes[organization]
end

-- The refusal of one more submit, nil if there is room; most: of a minute.
local function rate_refusal(organization, most)
  local minute = minute_of(organization)
  if minute.before + minute.here < most then return end
  local left_ms = minute.before > 0 and redis.call('PTTL', submits_prefix .. organization) or MINUTE_MS
  return string.format('submitsPerMinute %d %d', most, math.max(left_ms, 1))
end

local function note_submit(organization) minute_of(organization).here = minute_of(organization).here + 1 end

-- The last thing a call does: a count that cannot be written costs no job.
local function save_submits()
  for organization, minute in pairs(minutes) do
    if minute.here > 0 and minute.before > 0 then
      redis.pcall('INCRBY', submits_prefix .. organization, minute.here)
    elseif minute.here > 0 then
      redis.pcall('SET', submits_prefix .. organization, minute.here, 'PX', MINUTE_MS)
    end
  end
end
