-- Lease tokens: a lane letter and the id of the stream entry. An entry id has one life: every requeue makes a new
-- entry and nothing is ever claimed for another consumer, so holding the entry proves the lease (I4).

local streams = {a = requeued, s = suspect, i = isolated, h = high, n = normal, l = low}

-- Where a job goes that comes back. Its first loss of a worker proves nothing; after the second it is a suspect, few of
-- which run in one worker; after the third it runs alone, so that its fourth is nobody else's fault.
local function queue_after(losses)
  losses = tonumber(losses or 0) or 0
  return losses >= 3 and 'i' or losses == 2 and 's' or 'a'
end

local function is_suspect(letter) return letter == 's' or letter == 'i' end

-- Proves that this consumer still holds the lease, and renews it. As the first write of every transition of a worker
-- it cannot grow memory, which lets the rest pass on a server at maxmemory.
local function holds(consumer, token)
  local stream = streams[string.sub(token, 1, 1)]
  return stream ~= nil and #redis.call('XCLAIM', stream, GROUP, consumer, 0, string.sub(token, 2), 'JUSTID') == 1
end

-- The cheaper proof, for an end: the lease is over with it. What fails then must take it back.
local function give_up_lease(token)
  local stream = streams[string.sub(token, 1, 1)]
  return stream ~= nil and redis.call('XACK', stream, GROUP, string.sub(token, 2)) == 1
end

local function restore_lease(consumer, token)
  redis.call('XCLAIM', streams[string.sub(token, 1, 1)], GROUP, consumer, 0, string.sub(token, 2), 'FORCE', 'JUSTID')
end

local function forget_entry(token) redis.call('XDEL', streams[string.sub(token, 1, 1)], string.sub(token, 2)) end

-- Always an item's last writes: an error before them leaves the entry to be met again.
local function release(token)
  give_up_lease(token)
  forget_entry(token)
end
