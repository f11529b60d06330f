-- Lease tokens: a lane letter and the id of the stream entry. An entry id has one life: every requeue makes a new
-- entry and nothing is ever claimed for another consumer, so holding the entry proves the lease (I4).

local streams = {a = again, s = suspect, h = high, n = normal, l = low}

-- Proves that this consumer still holds the lease, and renews it. As the first write of every transition of a worker
-- it cannot grow memory, which lets the rest pass on a server at maxmemory.
local function holds(consumer, token)
  local stream = streams[string.sub(token, 1, 1)]
  return stream ~= nil and #redis.call('XCLAIM', stream, GROUP, consumer, 0, string.sub(token, 2), 'JUSTID') == 1
end

-- Always an item's last writes: an error before them leaves the entry to be met again.
local function release(token)
  local stream, id = streams[string.sub(token, 1, 1)], string.sub(token, 2)
  redis.call('XACK', stream, GROUP, id)
  redis.call('XDEL', stream, id)
end
