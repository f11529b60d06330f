-- Counts every state in one call: waiting and running are derived from streams, never counted, so they always add up (I3). Ended jobs
-- are in `counts` or still in the ledger. Of many backlogs the counts that are kept are summed up: one command, not thousands.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low counts throttled_deadlines ledger backlogs due organizations held_organizations gates placed_suspects
-- PREFIX backlog delayed suspect_backlog
-- RETURNS {queued per stream..., in backlogs, processing, delayed, throttled, completed, failed, cancelled, unbooked, held}
-- held: of those in streams and backlogs, jobs that no worker may claim now.
-- INCLUDE organizations settled

-- Backlogs that are counted one by one, at most.
local COUNTED_MAX = 1000

local queued, processing = {}, 0
for _, stream in ipairs({line, suspect, isolated, requeued, high, normal, low}) do
  local length = redis.call('XLEN', stream)
  local pending = length > 0 and redis.call('XPENDING', stream, GROUP)[1] or 0
  processing = processing + pending
  queued[#queued + 1] = length - pending
end

-- Members of the sets of some organisations.
local function members(names, prefix)
  local sum = 0
  for _, organization in ipairs(names) do
    local count = redis.pcall('ZCARD', prefix .. organization)
    sum = sum + (type(count) == 'number' and count or 0)
  end
  return sum
end

local delayed = members(redis.call('ZRANGE', due, 0, -1), delayed_prefix)

-- All jobs that wait, by the counts of organisations, less those that wait elsewhere.
local function in_many_backlogs(elsewhere)
  local waiting = 0
  for _, packed in ipairs(redis.call('HVALS', organizations)) do
    waiting = waiting + math.floor((tonumber(packed) or 0) / UNITS.waiting) % RANGES.waiting
  end
  return math.max(waiting - elsewhere, 0)
end

local throttled = redis.call('ZCARD', throttled_deadlines)
local in_backlogs
if redis.call('ZCARD', backlogs) <= COUNTED_MAX then
  in_backlogs = members(redis.call('ZRANGE', backlogs, 0, -1), backlog_prefix)
    + members(redis.call('HKEYS', placed_suspects), suspect_backlog_prefix)
else
  in_backlogs = in_many_backlogs(queued[1] + queued[2] + queued[3] + delayed + throttled)
end

-- Jobs of held organisations, and of those whose projects are (`<org> *`): their scores are as withholding.lua has them.
local function held_members()
  local names, whole, sum = redis.call('ZRANGE', held_organizations, 0, -1), {}, 0
  for _, name in ipairs(names) do whole[name] = true end
  for _, name in ipairs(names) do
    local whose = string.match(name, '^(%S+) %*$')
    if whose and not whole[whose] then sum = sum + redis.call('ZCOUNT', backlog_prefix .. whose, '1e16', '+inf') end
  end
  return sum + members(names, backlog_prefix)
end

-- Jobs that no worker may claim now.
local function held_jobs()
  note_settled(redis.call('HGET', gates, SETTLED))
  if not is_paused(QUEUE) then return held_members() end
  local claimable = in_backlogs
  for _, waiting in ipairs(queued) do claimable = claimable + waiting end
  return claimable
end

local held = held_jobs()

for _, set in ipairs({due_high, due_normal, due_low}) do delayed = delayed + redis.call('ZCARD', set) end

local ended = {completed = 0, failed = 0, cancelled = 0}
local totals = redis.call('HMGET', counts, 'completed', 'failed', 'cancelled', 'unbooked')
for _, line_text in ipairs(redis.pcall('LRANGE', ledger, 0, -1)) do
  local status = string.match(line_text, '^%S+')
  if ended[status] then ended[status] = ended[status] + 1 end
end

queued[#queued + 1] = in_backlogs
queued[#queued + 1] = processing
queued[#queued + 1] = delayed
queued[#queued + 1] = throttled
for i, status in ipairs({'completed', 'failed', 'cancelled'}) do
  queued[#queued + 1] = ended[status] + tonumber(totals[i] or 0)
end
queued[#queued + 1] = tonumber(totals[4] or 0)
queued[#queued + 1] = held
return queued
