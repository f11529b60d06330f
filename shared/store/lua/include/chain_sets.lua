-- Moves jobs that an older release throttled to the queues of today. Older releases have one set for each gate, or one for
-- each chain of gates: `lane:` and its names, which the hash of gates lists; while releases are mixed, such sets may come
-- again.
-- INCLUDE gate_states own_gates throttling organizations places unserved

local function move(job, names, score)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'route', 'spec', 'created', 'deadline', 'org')
  if f[1] == 'queued' and f[2] == 'p' .. names then
    local queues = (f[3] or names ~= chain) and names or FLEET
    -- Keeps the order of jobs of the same ms.
    local within = score % RANK_WIDTH - tonumber(f[5]) * 1000
    local place = place_at(priority_of('', f[4]), tonumber(f[5]) * 1000 + math.max(math.min(within, 999), 0))
    note_waiting(f[7], 1, #f[4], f[3])
    redis.call('HSET', job_prefix .. job, 'place', place, 'entry', throttle(job, f[7], queues, place, f[6], 0))
  end
end

-- Returns how many jobs it processed. A set that cannot be read is left to the audit.
local function move_chain_set(names, most)
  local ok, jobs = pcall(redis.call, 'ZRANGE', chain_set_prefix .. names, 0, most - 1, 'WITHSCORES')
  if not ok then jobs = {} end
  for i = 1, #jobs, 2 do
    pcall(move, jobs[i], names, tonumber(jobs[i + 1]))
    redis.call('ZREM', chain_set_prefix .. names, jobs[i])
  end
  if #jobs < 2 * most then redis.call('HDEL', gates, '@' .. names) end
  return #jobs / 2
end

local function move_from_gate(job, name, place)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'org', 'deadline', 'route')
  local names = string.match(f[2] or '', '^p(.+)$')
  if f[1] == 'queued' and names then
    note_waiting(f[3], 1, redis.call('HSTRLEN', job_prefix .. job, 'spec'), f[5])
    redis.call('HSET', job_prefix .. job, 'place', place, 'entry', throttle(job, f[3], names, place, f[4], 0))
    for other in string.gmatch(names, '%S+') do redis.call('ZREM', throttled_prefix .. other, job) end
  end
end

-- The same for the set of a gate, which had the jobs of all organisations.
local function move_gate_set(name, most)
  local ok, jobs = pcall(redis.call, 'ZRANGE', throttled_prefix .. name, 0, most - 1, 'WITHSCORES')
  if not ok then return 0 end
  for i = 1, #jobs, 2 do
    pcall(move_from_gate, jobs[i], name, jobs[i + 1])
    redis.call('ZREM', throttled_prefix .. name, jobs[i])
  end
  return #jobs / 2
end

-- Moves jobs of all these sets. Returns how many it processed.
local function move_old_sets(most)
  local moved = 0
  read_fleet(function(names) if moved < most then moved = moved + math.max(move_chain_set(names, most - moved), 1) end end)
  for _, name in ipairs({FLEET, unpack(own_gates)}) do
    if moved < most then moved = moved + move_gate_set(name, most - moved) end
  end
  return moved
end
