-- Reads the records of entries that were delivered, and makes the rows of the reply for jobs that start.
-- INCLUDE lease policies token_limits

local claims, suspects_held, isolated_held = {}, 0, false

-- Written out: it is done for each job.
local function read_entry(job)
  local f = redis.call('HMGET', job_prefix .. job, 'entry', 'state', 'spec', 'attempt', 'created', 'deadline', 'losses',
    'org', 'route', 'gate', 'pass', 'max_tokens', 'spent', 'lost', 'v', 'place', 'due', 'base', 'reserved', 'max_cost',
    'mismatch', 'past')
  return {entry = f[1], state = f[2], spec = f[3], attempt = f[4], created = f[5], deadline = f[6], losses = f[7],
    org = f[8], route = f[9], own_chain = f[9], gate = f[10], pass = f[11], max_tokens = f[12], spent = f[13],
    lost = f[14], v = f[15], place = f[16], due = f[17], base = f[18], reserved = f[19], max_cost = f[20],
    mismatch = f[21], past = f[22]}
end

-- The time (ms) at which the job became claimable: of its submit, of its due time, or of its requeue.
local function ready_at(f)
  local due = tonumber(f.due or 0)
  return due > 0 and f.due or f.created
end

-- Values of a row that are the same for all jobs of an organisation.
local settings_read = {}

local function settings_of(organization)
  local read = settings_read[organization]
  if not read then
    local capped = limit_of(organization, 'running', running_max) > 0
    read = {capped = capped and 1 or 0, tokens = token_limit_of(organization), kept = policy_of(organization).kept or 0}
    settings_read[organization] = read
  end
  return read
end

local function answer(token, job, f, attempt, name, passed_over, need)
  local settings = settings_of(f.org)
  claims[#claims + 1] = {job, token, f.spec, attempt, f.created, f.deadline, f.losses or '0', name, f.route or '',
    passed_over or '', need or 0, f.spent or '', f.lost or '0', ready_at(f), f.past or f.base and 1 or 0,
    settings.capped, f.bound and string.format('%.0f', f.bound) or '', f.budgeted and 1 or 0, f.mismatch or '',
    settings.tokens, settings.kept}
  local letter = string.sub(token, 1, 1)
  suspects_held = suspects_held + (is_suspect(letter) and 1 or 0)
  isolated_held = isolated_held or letter == 'i'
end
