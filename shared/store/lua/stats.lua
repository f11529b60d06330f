-- Counts every state in one call: waiting and running are derived from streams, never counted, so they always add up (I3). Ended jobs
-- are in `counts` or still in the ledger.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low counts throttled_deadlines ledger backlogs due held_organizations gates
-- PREFIX backlog delayed
-- RETURNS {queued per stream..., in backlogs, processing, delayed, throttled, completed, failed, cancelled, unbooked, held}
-- held: of those in streams and backlogs, jobs that no worker may claim now.
-- INCLUDE settled

local queued, processing = {}, 0
for _, stream in ipairs({line, suspect, isolated, requeued, high, normal, low}) do
  local length = redis.call('XLEN', stream)
  local pending = length > 0 and redis.call('XPENDING', stream, GROUP)[1] or 0
  processing = processing + pending
  queued[#queued + 1] = length - pending
end

-- Members of the sets of all organisations that `index` names.
local function members(index, prefix)
  local sum = 0
  for _, organization in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local count = redis.pcall('ZCARD', prefix .. organization)
    sum = sum + (type(count) == 'number' and count or 0)
  end
  return sum
end

local claimable = members(backlogs, backlog_prefix)
for _, waiting in ipairs(queued) do claimable = claimable + waiting end
note_settled(redis.call('HGET', gates, SETTLED))
local held = is_paused(QUEUE) and claimable or members(held_organizations, backlog_prefix)

local delayed = members(due, delayed_prefix)
for _, set in ipairs({due_high, due_normal, due_low}) do delayed = delayed + redis.call('ZCARD', set) end

local ended = {completed = 0, failed = 0, cancelled = 0}
local totals = redis.call('HMGET', counts, 'completed', 'failed', 'cancelled', 'unbooked')
for _, line_text in ipairs(redis.pcall('LRANGE', ledger, 0, -1)) do
  local status = string.match(line_text, '^%S+')
  if ended[status] then ended[status] = ended[status] + 1 end
end

queued[#queued + 1] = members(backlogs, backlog_prefix)
queued[#queued + 1] = processing
queued[#queued + 1] = delayed
queued[#queued + 1] = redis.call('ZCARD', throttled_deadlines)
for i, status in ipairs({'completed', 'failed', 'cancelled'}) do
  queued[#queued + 1] = ended[status] + tonumber(totals[i] or 0)
end
queued[#queued + 1] = tonumber(totals[4] or 0)
queued[#queued + 1] = held
return queued
