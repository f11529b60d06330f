-- Counts every state in one call: waiting and running are derived from streams, never counted, so they always add up (I3). Ended jobs
-- are in `counts` or still in the ledger.
-- KEYS requeued suspect isolated high normal low due_high due_normal due_low counts throttled_deadlines ledger
-- RETURNS {queued per stream..., processing, delayed, throttled, completed, failed, cancelled, unbooked}

local queued, processing = {}, 0
for _, stream in ipairs({requeued, suspect, isolated, high, normal, low}) do
  local length = redis.call('XLEN', stream)
  local pending = length > 0 and redis.call('XPENDING', stream, GROUP)[1] or 0
  processing = processing + pending
  queued[#queued + 1] = length - pending
end
local delayed = 0
for _, set in ipairs({due_high, due_normal, due_low}) do delayed = delayed + redis.call('ZCARD', set) end
local ended = {completed = 0, failed = 0, cancelled = 0}
local totals = redis.call('HMGET', counts, 'completed', 'failed', 'cancelled', 'unbooked')
for _, line in ipairs(redis.pcall('LRANGE', ledger, 0, -1)) do
  local status = string.match(line, '^%S+')
  if ended[status] then ended[status] = ended[status] + 1 end
end
queued[#queued + 1] = processing
queued[#queued + 1] = delayed
queued[#queued + 1] = redis.call('ZCARD', throttled_deadlines)
for i, status in ipairs({'completed', 'failed', 'cancelled'}) do
  queued[#queued + 1] = ended[status] + tonumber(totals[i] or 0)
end
queued[#queued + 1] = tonumber(totals[4] or 0)
return queued
