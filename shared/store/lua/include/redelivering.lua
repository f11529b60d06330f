-- Suspects, the jobs that lost their worker more than once: few in one worker, and those that lost it three times alone.
-- INCLUDE adopting delivering

-- A single slot, and a worker that would take nothing else, is offered to high first at odd turns, or suspects would keep
-- it waiting (I8).
local function offer_to_high() if slot_now() % 2 == 1 then deliver(1, high) end end

local function take_isolated()
  offer_to_high()
  if taken.h == 0 then deliver(1, isolated) end
  if not isolated_held then
    -- It was none to run, and there may be more of them.
    if taken.i > 0 then redis.call('ZADD', wake, -1, 'look') end
    return
  end
  -- What woke this worker is left to the others.
  redis.call('SET', round_robin, (slot_now() + 1) % 16)
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end

-- Half of what is wanted at most: a high job is still among the next two.
local function take_suspects(wanted)
  if wanted == 1 and taken.h == 0 then offer_to_high() end
  local room = math.min(tonumber(suspects_max) - suspects_held, math.max(math.floor(wanted / 2), 1), wanted - taken.h)
  if room > 0 then deliver(room, suspect) end
  wanted = wanted - taken.s
  if taken.s > 0 and (wanted == 0 or slot_now() % 2 == 0) then start = slot_now() + 1 end
  if taken.s + taken.h > 0 then redis.call('ZADD', wake, -1, 'look') end
  return wanted
end

-- Answers how many other jobs are wanted then.
local function take_redelivered(wanted)
  if wanted <= 0 then return wanted end
  if alone == '1' and tonumber(suspects_max) > 0 and #claims == 0 then take_isolated() end
  if isolated_held then return 0 end
  return wanted > taken.h and take_suspects(wanted) or wanted
end
