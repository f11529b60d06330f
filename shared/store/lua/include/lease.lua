-- Lease tokens: the letter of the stream and the id of the entry. An entry id has one life: every requeue makes a new
-- entry and nothing is ever claimed for another consumer, so holding the entry proves the lease (I4).

local streams = {q = line, s = suspect, i = isolated, a = requeued, h = high, n = normal, l = low}

-- The stream for a job that is requeued. Its first lost worker proves nothing; after the second it is a suspect, few of
-- which run in one worker; after the third it is isolated and runs alone, so that no other job can cause the fourth loss.
local function queue_after(losses)
  losses = tonumber(losses or 0) or 0
  return losses >= 3 and 'i' or losses == 2 and 's' or 'q'
end

local function add_entry(letter, job, organization)
  return letter .. redis.call('XADD', streams[letter], '*', 'j', job, 'o', organization)
end

local function is_suspect(letter) return letter == 's' or letter == 'i' end

-- Proves that this consumer still holds the lease, and renews it. As the first write of every transition of a worker
-- it cannot grow memory; a script whose first write was allowed is not refused later on a server at maxmemory.
local function holds(consumer, token)
  local stream = streams[string.sub(token, 1, 1)]
  return stream ~= nil and #redis.call('XCLAIM', stream, GROUP, consumer, 0, string.sub(token, 2), 'JUSTID') == 1
end

-- The cheaper proof, for an end: it ends the lease. If a later write fails, restore_lease must undo it.
local function give_up_lease(token)
  local stream = streams[string.sub(token, 1, 1)]
  return stream ~= nil and redis.call('XACK', stream, GROUP, string.sub(token, 2)) == 1
end

local function restore_lease(consumer, token)
  redis.call('XCLAIM', streams[string.sub(token, 1, 1)], GROUP, consumer, 0, string.sub(token, 2), 'FORCE', 'JUSTID')
end

local function forget_entry(token) redis.call('XDEL', streams[string.sub(token, 1, 1)], string.sub(token, 2)) end

-- Always an item's last writes: after an error before them the entry is still there, and is found again.
local function release(token)
  give_up_lease(token)
  forget_entry(token)
end
