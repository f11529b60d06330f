-- Reads the records of entries that were delivered, and makes the rows of the reply for jobs that start.
-- INCLUDE lease policies token_limits

local claims, suspects_held, isolated_held = {}, 0, false

-- All fields at once: to name those of interest takes longer, and a job that has not ended has no others that are long.
local function read_entry(job)
  local f, flat = {}, redis.call('HGETALL', job_prefix .. job)
  for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
  f.own_chain = f.route
  return f
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
