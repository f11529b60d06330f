-- Does at its time what a retention asks for after a job's end: `retention_timers` has, by time (ms), `p` and the job whose prompt is
-- to go, or `f` or `c` and the id of an entry of failures or cancellations that is to be listed no more.
-- KEYS retention_timers due
-- PREFIX failures cancellations
-- INCLUDE now failure_index prompts retention

local LISTINGS, TIMERS_MAX = {f = failures_prefix, c = cancellations_prefix}, 64

local function meet(timer)
  local letter, id = string.sub(timer, 1, 1), string.sub(timer, 2)
  if letter == 'p' then return forget_prompt(id) end
  local entry = redis.call('XRANGE', LISTINGS[letter] .. '*', id, id)[1]
  local organization = entry and string.match(entry[2][2], '^%S+ (%S+)')
  if organization then remove_entry(LISTINGS[letter], organization, id) end
end

-- Those that are due, some in each call: the others in the next one. One that cannot be met is forgotten: the audit looks at all
-- records.
local function meet_retention_timers()
  local found = redis.call('ZRANGEBYSCORE', retention_timers, '-inf', now, 'LIMIT', 0, TIMERS_MAX)
  for _, timer in ipairs(found) do pcall(meet, timer) end
  if #found > 0 then redis.call('ZREM', retention_timers, unpack(found)) end

  local first = redis.call('ZRANGE', retention_timers, 0, 0, 'WITHSCORES')
  if not first[2] then return redis.call('ZREM', due, RETENTION) end
  redis.call('ZADD', due, string.format('%.0f', math.max(tonumber(first[2]), now + 1)), RETENTION)
end
