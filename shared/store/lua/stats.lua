-- Counts every state in one call: waiting and running are derived, never counted, so they always add up (I3).
-- KEYS again suspect high normal low due_high due_normal due_low counts parked
-- RETURNS {queued per stream..., processing, delayed, parked, completed, failed, cancelled}

local queued, processing = {}, 0
for _, stream in ipairs({again, suspect, high, normal, low}) do
  local length = redis.call('XLEN', stream)
  local pending = length > 0 and redis.call('XPENDING', stream, GROUP)[1] or 0
  processing = processing + pending
  queued[#queued + 1] = length - pending
end
local delayed = 0
for _, set in ipairs({due_high, due_normal, due_low}) do delayed = delayed + redis.call('ZCARD', set) end
local ended = redis.call('HMGET', counts, 'completed', 'failed', 'cancelled')
queued[#queued + 1] = processing
queued[#queued + 1] = delayed
queued[#queued + 1] = redis.call('ZCARD', parked)
for i = 1, 3 do queued[#queued + 1] = tonumber(ended[i] or 0) end
return queued
