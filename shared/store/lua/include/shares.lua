-- Limits how many of the delivered jobs of an organisation may start: caps, and shares of the slots.
-- INCLUDE organizations policies quotas budgets

-- Entries of the line that this call took, all entries delivered to it, and slots that it must fill. Read when first needed:
-- entries that wait in the line, and jobs that will run once the slots are filled.
local line_seen, delivered, slots_wanted = 0, 0, 0
local running_total, line_length

local function read_line()
  if running_total then return end
  local pending = redis.call('XPENDING', line, GROUP)[1]
  running_total, line_length = pending - delivered + slots_wanted, redis.call('XLEN', line) - pending
end

-- While others may run, an organisation starts no job above its part of the running jobs: `slot_share` per cent, or its
-- weight's part of the entries in the line, whichever is more. One job always may run.
local function slots_of(organization)
  read_line()
  local percent = limit_of(organization, 'slot_share', slot_share)
  if percent == 0 then return math.huge end
  local weight = weight_of(organization)
  local share = math.max(percent / 100, weight / math.max(line_length + line_seen, weight))
  return math.max(math.ceil(share * running_total), 1)
end

-- Returns how many more jobs may start beside those counted as running (below zero: too many run), and whether a cap decides.
local function room_for(organization, beside_others)
  local state, cap = counts_of(organization), limit_of(organization, 'running', running_max)
  if policy_of(organization).paused == 1 or is_over_budget(organization) then return -math.huge, true end
  local most, by_cap = cap > 0 and cap or math.huge, cap > 0
  if beside_others and state.running > 1 then
    local slots = slots_of(organization)
    if slots < most then most, by_cap = slots, false end
  end
  if state.running <= most then return most - state.running, by_cap end
  return most - running_of(organization), by_cap
end

-- Whether other organisations may run: some whose entries were delivered have jobs left, or the line has entries of others.
local function others_wait(organization, met, exhausted)
  for _, other in ipairs(met) do
    if other ~= organization and counts_of(other).waiting > 0 then return true end
  end
  if exhausted or counts_of(organization).running <= 1 then return false end
  read_line()
  return line_length > counts_of(organization).placed
end

-- Returns how many of `count` jobs that are already counted as running may start, and whether the others are held.
local function room_among(organization, count, met, exhausted)
  local room, by_cap = room_for(organization, others_wait(organization, met, exhausted))
  return math.max(count + math.min(room, 0), 0), room < 0 and by_cap
end
