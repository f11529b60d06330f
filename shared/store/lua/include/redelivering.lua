-- Delivers jobs that lost their worker more than once: few suspects to one worker, isolated jobs (three losses) alone.
-- INCLUDE adopting delivering

-- At odd slots a worker with one free slot, or one that would take an isolated job alone, is offered to high first: suspects
-- must not keep high waiting (I8).
local function offer_to_high() if slot_now() % 2 == 1 then deliver(1, high) end end

local function take_isolated()
  offer_to_high()
  if taken.h == 0 then deliver(1, isolated) end
  if not isolated_held then
    -- The entry was no job to run, and there may be more of them.
    if taken.i > 0 then redis.call('ZADD', wake, -1, 'look') end
    return
  end
  -- The jobs that woke this worker are left to others.
  redis.call('SET', round_robin, (slot_now() + 1) % 16)
  redis.call('ZADD', wake, -1, 'look', 0, 'job')
end

-- Half of the wanted jobs at most: a high job is still among the next two.
local function take_suspects(wanted)
  if wanted == 1 and taken.h == 0 then offer_to_high() end
  local room = math.min(tonumber(suspects_max) - suspects_held, math.max(math.floor(wanted / 2), 1), wanted - taken.h)
  if room > 0 then deliver(room, suspect) end
  wanted = wanted - taken.s
  if taken.s > 0 and (wanted == 0 or slot_now() % 2 == 0) then start = slot_now() + 1 end
  if taken.s + taken.h > 0 then redis.call('ZADD', wake, -1, 'look') end
  return wanted
end

-- Returns how many other jobs are still wanted.
local function take_redelivered(wanted)
  if wanted <= 0 then return wanted end
  if alone == '1' and tonumber(suspects_max) > 0 and #claims == 0 then take_isolated() end
  if isolated_held then return 0 end
  return wanted > taken.h and take_suspects(wanted) or wanted
end
