-- Lets parked jobs of gates that have room go where claims find them: in order, one of each lane at a time, at the rate
-- the gates allow, and no more than the caller can take.

local busy_gates = {}

local function release_one(lane)
  local job, name, reasons, tokens = ask_lane(lane)
  if not job or not name then return false end
  local pass = gate_limits[name] and string.format('%s %.0f %d %s', name, now, tokens, table.concat(reasons, ','))
  local ok, letter = pcall(unpark, job, lane, pass)
  if not ok or not letter then return true, 0 end
  admit(name, tokens)
  lanes[lane][2] = (lanes[lane][2] + 1) % 16
  return true, 1, is_suspect(letter)
end

-- A gate that nobody names any more lets everything go: the claim asks the chain of today.
local function orphaned(lane)
  for name in string.gmatch(lane, '%S+') do
    if not gate_limits[name] then return true end
  end
  return false
end

local function lanes_due()
  local due = {}
  for lane, state in pairs(lanes) do
    if state and (state[1] <= now or orphaned(lane)) then due[#due + 1] = lane end
  end
  return due
end

-- Answers ms until the next may go (-1: none waits), and whether suspects are among those that went.
local function release_parked(left)
  local suspects_among, due = false, lanes_due()
  while #due > 0 and left > 0 do
    local again_due = {}
    for _, lane in ipairs(due) do
      local ok, more, released, suspect
      if left > 0 then ok, more, released, suspect = pcall(release_one, lane) else ok, more = true, true end
      -- A lane that cannot be read waits for the audit, or an operator.
      if not ok and lanes[lane] then lanes[lane][1], lanes_changed[lane] = now + COLD_MS, true end
      if ok and more then again_due[#again_due + 1] = lane end
      left, suspects_among = left - (ok and released or 0), suspects_among or suspect
    end
    due = again_due
  end
  -- Whose turn it still is goes before those who come now.
  for _, lane in ipairs(due) do
    for name in string.gmatch(lane, '%S+') do busy_gates[name] = true end
  end
  local soonest = -1
  for _, state in pairs(lanes) do
    local wait = state and math.max(state[1] - now, 0)
    if wait then soonest = soonest < 0 and wait or math.min(soonest, wait) end
  end
  return soonest, suspects_among
end
