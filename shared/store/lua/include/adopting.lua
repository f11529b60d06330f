-- Decides on an entry that was delivered to this consumer: it becomes a claim, ends, goes to the queues of its gates, or is
-- left.
-- INCLUDE release lease announce now gate_states serving throttling choosing overdue predating replacing

local claims, soonest = {}, -1
local suspects_held, isolated_held, redelivered_some, ends_soon = 0, false, false, false

-- Written out: it is done for each job.
local function read_entry(job)
  local f = redis.call('HMGET', job_prefix .. job, 'entry', 'state', 'spec', 'attempt', 'created', 'deadline', 'losses',
    'org', 'route', 'gate', 'pass', 'max_tokens', 'spent', 'lost', 'v')
  return {entry = f[1], state = f[2], spec = f[3], attempt = f[4], created = f[5], deadline = f[6], losses = f[7],
    org = f[8], route = f[9], gate = f[10], pass = f[11], max_tokens = f[12], spent = f[13], lost = f[14], v = f[15]}
end

local function answer(token, job, f, attempt, name, passed_over, need)
  claims[#claims + 1] = {job, token, f.spec, attempt, f.created, f.deadline, f.losses or '0', name, f.route or '',
    passed_over or '', need or 0, f.spent or '', f.lost or '0'}
  local letter = string.sub(token, 1, 1)
  suspects_held = suspects_held + (is_suspect(letter) and 1 or 0)
  isolated_held = isolated_held or letter == 'i'
end

local function start(token, job, f, attempt, name)
  local extra = {}
  if name ~= string.match(chain, '^%S*') or f.gate then extra = {'gate', name} end
  if f.pass and f.pass ~= '' then extra[#extra + 1], extra[#extra + 2] = 'pass', '' end
  redis.call('HSET', job_prefix .. job, 'state', 'processing', 'attempt', attempt, 'started', string.format('%d', now),
    'worker', consumer, unpack(extra))
  if quiet ~= '1' then announce(job, f.org, token .. '.1', 'processing') end
end

-- repeated: the entry was delivered to this consumer by an earlier claim, whose reply was lost.
local function adopt(token, job, repeated)
  local f = read_entry(job)
  -- It stays pending: a worker of the release that knows it recovers it.
  if foreign(f.v, f.state) then return end
  if f.entry ~= token or not LIVE[f.state] then return release(token) end
  local attempt = tonumber(f.attempt or 0)
  local running, predating = f.state == 'processing', predates(token)
  if running and repeated and not predating then
    return answer(token, job, f, attempt, f.gate or string.match(chain, '^%S*'))
  end
  -- Running, and yet delivered again: the group was lost and every lease with it. Or from before a fail-over: a claim of
  -- this entry, or the end of an attempt of this consumer, may have been lost with the old master. Two attempts with one
  -- token would break the fence (I4), and readers would take the text of one for the rest of the other (I10).
  if running or predating then
    redelivered_some = true
    replace_entry(job, f.losses)
    if running and repeated then redis.call('HSET', job_prefix .. job, 'attempt', math.max(attempt - 1, 0)) end
    return release(token)
  end
  if tonumber(f.deadline) <= now then
    end_overdue(job, f.org, f.lost)
    return release(token)
  end
  local name, passed_over, need = find_gate(f, string.sub(token, 1, 1))
  if name then
    start(token, job, f, attempt + 1, name)
    return answer(token, job, f, attempt + 1, name, passed_over, need)
  end
  local wait, left = passed_over or SERVED_MS, tonumber(f.deadline) - now
  local names = f.route or FLEET
  -- Without `rest`, an isolated job would go without a pause between this worker, which lacks its gate, and workers that
  -- have the gate but hold other jobs.
  local entry = throttle(job, names, priority_of(token, f.spec), token, f.created, f.deadline, wait,
    not passed_over and string.sub(token, 1, 1) == 'i')
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'due', string.format('%.0f', now + wait))
  soonest = math.min(soonest < 0 and wait or soonest, wait, left)
  ends_soon = ends_soon or left <= tonumber(lease_ms)
  return release(token)
end

-- A corrupt record must not cost the other entries their claims: one that fails stays pending, and recover finds it.
local function adopt_all(letter, entries, repeated)
  for _, entry in ipairs(entries) do pcall(adopt, letter .. entry[1], entry[2] and entry[2][2] or '', repeated) end
  return #entries
end
