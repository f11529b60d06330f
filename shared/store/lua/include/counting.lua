-- Counts the jobs of an organisation where they wait and run, for the audit, in a bounded number of checks.
-- KEYS gates policies
-- PREFIX job backlog delayed throttled throttled_by suspect_backlog
-- INCLUDE counted_entries ended_lines queues

local ALL_CHAINS = '*'
local queues_met

-- Queues of gates in which any job waits.
local function queues_now()
  if queues_met then return queues_met end
  queues_met = {}
  local names = redis.call('HKEYS', gates)
  names[#names + 1] = ALL_CHAINS
  for _, name in ipairs(names) do
    if redis.call('EXISTS', throttled_by_prefix .. name) == 1 then queues_met[#queues_met + 1] = name end
  end
  return queues_met
end

-- Throttled jobs: each waits in all queues of its chain.
local function count_throttled(right, organization)
  local seen = {}
  for _, name in ipairs(queues_now()) do
    for _, job in ipairs(redis.call('ZRANGE', queue_key(name, organization), 0, math.max(checks_left, 0))) do
      checks_left = checks_left - 1
      if not seen[job] then
        seen[job] = true
        local f = redis.pcall('HMGET', job_prefix .. job, 'org', 'entry')
        if f[1] == organization and string.sub(f[2] or '', 1, 1) == 't' then right.waiting = right.waiting + 1 end
      end
    end
  end
end

-- The right counts of an organisation but for KiB and ranks, and its suspects in their line; nil: there is more to check than one call may.
local function count_jobs(organization, ids)
  local right = {waiting = 0, running = 0, placed = 0, suspects = 0}
  for letter, known_ids in pairs(ids) do count_entries(right, organization, letter, known_ids) end
  count_throttled(right, organization)
  if checks_left < 0 then return nil end
  for _, prefix in ipairs({backlog_prefix, delayed_prefix, suspect_backlog_prefix}) do
    right.waiting = right.waiting + redis.call('ZCARD', prefix .. organization)
  end
  right.running = right.running + ended_in_ledger(organization)
  right.policy = redis.call('HEXISTS', policies, organization)
  return right
end
