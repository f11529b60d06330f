-- Suspects, the jobs that lost their worker more than once: few in one worker, and those that lost it three times alone.
-- INCLUDE adopting meeting delivering

local slot
local function slot_now()
  slot = slot or tonumber(redis.call('GET', round_robin) or 0)
  return slot
end

local function next_slot() redis.call('SET', round_robin, (slot_now() + 1) % 16) end

-- A single slot, and a worker that would take nothing else, is offered to the line first at odd slots, or suspects would keep
-- it waiting.
local function offer_to_line()
  if slot_now() % 2 == 0 then return false end
  local before = #claims
  deliver_line(before + 1)
  return #claims > before
end

local function take_isolated()
  if not offer_to_line() then deliver('i', 1) end
  if not isolated_held then
    -- It was none to run, and there may be more of them.
    if taken.i > 0 then redis.call('ZADD', wake, -1, 'look') end
    return
  end
  -- What woke this worker is left to the others.
  next_slot()
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end

-- Half of what is wanted at most.
local function take_suspects(wanted)
  local before = #claims
  if wanted == 1 and #claims == 0 and offer_to_line() then
    next_slot()
    redis.call('ZADD', wake, -1, 'look')
    return 0
  end
  local room = math.min(tonumber(suspects_max) - suspects_held, math.max(math.floor(wanted / 2), 1))
  if room > 0 then deliver('s', room) end
  if taken.s > 0 then
    next_slot()
    redis.call('ZADD', wake, -1, 'look')
  end
  return wanted - (#claims - before)
end

-- Answers how many other jobs are wanted then.
local function take_redelivered(wanted)
  if wanted <= 0 then return wanted end
  local before = #claims
  if alone == '1' and tonumber(suspects_max) > 0 and before == 0 then take_isolated() end
  if isolated_held then return 0 end
  wanted = wanted - (#claims - before)
  return wanted > 0 and take_suspects(wanted) or wanted
end
