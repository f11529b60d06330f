-- Delivers jobs that lost their worker more than once: few suspects to one worker, isolated jobs (three losses) alone.
-- INCLUDE meeting delivering rows

local current_slot
local function slot_now()
  current_slot = current_slot or tonumber(redis.call('GET', round_robin) or 0)
  return current_slot
end

local function next_slot() redis.call('SET', round_robin, (slot_now() + 1) % 16) end

-- At odd slots a worker with one free slot, or one that would take an isolated job alone, is offered to the line first:
-- suspects must not keep it waiting (I8).
local function offer_to_line()
  if slot_now() % 2 == 0 then return false end
  local before = #claims
  deliver_line(before + 1)
  return #claims > before
end

local function take_isolated()
  if not offer_to_line() then deliver('i', 1) end
  if not isolated_held then
    -- The entry was no job to run, and there may be more of them.
    if taken.i > 0 then redis.call('ZADD', wake, -1, 'look') end
    return
  end
  -- The jobs that woke this worker are left to others.
  next_slot()
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end

-- Half of the wanted jobs at most.
local function take_suspects(wanted)
  local before = #claims
  if wanted == 1 and #claims == 0 and offer_to_line() then
    next_slot()
    redis.call('ZADD', wake, -1, 'look')
    return 0
  end
  local room = math.min(tonumber(suspects_max) - suspects_held, math.max(math.floor(wanted / 2), 1))
  -- Of an organisation with many the next ones came into the line meanwhile.
  local came = 1
  while room > 0 and came > 0 do
    came = taken.s
    deliver('s', room)
    came = taken.s - came
    room = room - came
  end
  if taken.s > 0 then
    next_slot()
    redis.call('ZADD', wake, -1, 'look')
  end
  return wanted - (#claims - before)
end

-- Returns how many other jobs are still wanted.
local function take_redelivered(wanted)
  if wanted <= 0 then return wanted end
  local before = #claims
  if alone == '1' and tonumber(suspects_max) > 0 and before == 0 then take_isolated() end
  if isolated_held then return 0 end
  wanted = wanted - (#claims - before)
  return wanted > 0 and take_suspects(wanted) or wanted
end
