-- Lets parked jobs of gates that have room go where claims find them: in order, at the rate the gate allows, and no
-- more than the caller can take.

local function release_lane(name, left)
  local released, suspects_among = 0, false
  while released < left do
    local wait, job, need = lane_wait(name)
    if not wait then return released, -1, suspects_among end
    if wait > 0 then return released, wait, suspects_among end
    local ok, letter = pcall(unpark, job, name, gate_limits[name] and string.format('%s %.0f %d', name, now, need))
    if ok and letter then
      admit(name, need)
      gate(name).turn, gates_changed[name] = (gate(name).turn + 1) % 16, true
      released = released + 1
      suspects_among = suspects_among or letter == 's'
    end
  end
  local wait = lane_wait(name)
  return released, wait or -1, suspects_among
end

-- Answers how many left, ms until the next may (-1: none waits), and whether suspects are among them.
local function release_parked(left)
  local released, soonest, suspects_among = 0, -1, false
  for name, state in pairs(gate_states) do
    if state.parked == 1 then
      local ok, count, wait, suspect = pcall(release_lane, name, left - released)
      if ok then released, suspects_among = released + count, suspects_among or suspect end
      if ok and wait >= 0 then soonest = soonest < 0 and wait or math.min(soonest, wait) end
    end
  end
  return released, soonest, suspects_among
end
