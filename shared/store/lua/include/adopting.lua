-- What becomes of an entry that was delivered to this consumer: a claim, an end, a place in the queues of
-- its gates, or nothing.

local claims, soonest = {}, -1
local suspects_held, isolated_held, redelivered_some, ends_soon = 0, false, false, false
local FIELDS = {'entry', 'state', 'spec', 'attempt', 'created', 'deadline', 'losses', 'org', 'route', 'gate', 'pass',
  'max_tokens', 'spent', 'lost', 'v'}

local function read_entry(job)
  local values, f = redis.call('HMGET', job_prefix .. job, unpack(FIELDS)), {}
  for i, name in ipairs(FIELDS) do f[name] = values[i] end
  return f
end

local function answer(token, job, f, attempt, name, passed_over, need)
  claims[#claims + 1] = {job, token, f.spec, attempt, f.created, f.deadline, f.losses or '0', name, f.route or '',
    passed_over or '', need or 0, f.spent or '', f.lost or '0'}
  local letter = string.sub(token, 1, 1)
  suspects_held = suspects_held + (is_suspect(letter) and 1 or 0)
  isolated_held = isolated_held or letter == 'i'
end

-- Why gates before `pass` in the chain were passed over: those that its queue did not know of failed the job.
local function reasons_before(chain_text, pass, passed_over)
  local reasons = {}
  for name in string.gmatch(chain_text, '%S+') do
    if name == pass then break end
    local why = string.match(',' .. passed_over .. ',', ',' .. string.gsub(name, '%p', '%%%0') .. ' ([^,]+),')
    local _, shut = wait_of(name, 0)
    why = why or not has_gate(name) and NOT_HERE or shut == 'rate_limited' and shut or 'unavailable'
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return table.concat(reasons, ',')
end

-- A gate that has room for a job, why those before it had none, and what was reserved there. Without one: nil, and how
-- long until one has (nil: this worker has none of its gates).
local function find_gate(f, letter)
  local chain_text = f.route or chain
  if chain_text == '' then return '', '', 0 end
  local pass, reserved_at, reserved, passed_over = string.match(f.pass or '', '^(%S+) (%d+) (%d+) (.*)$')
  -- A reservation is as old as calls may be late (gates.lua); after that it must be asked for again. Not by a job that runs
  -- alone: until a worker holds nothing its turn is long over, and it would go round for ever behind a busy gate. It goes
  -- now, and is reserved for a second time.
  local in_time = pass and now - tonumber(reserved_at) <= SLACK_MS
  if pass and has_gate(pass) and (in_time or letter == 'i')
    and (gate(pass).blocked_until <= now or gate(pass).probe == 1) then
    if not in_time then admit(pass, tonumber(reserved)) end
    return pass, reasons_before(chain_text, pass, passed_over), tonumber(reserved)
  end
  local name, wait, reasons, tokens = ask_chain(chain_text, function() return need_of(#f.spec, f.max_tokens) end, true)
  if not name then return nil, wait end
  admit(name, tokens)
  return name, table.concat(reasons, ','), tokens
end

local function start(token, job, f, attempt, name)
  local extra = {}
  if name ~= string.match(chain, '^%S*') or f.gate then extra = {'gate', name} end
  if f.pass and f.pass ~= '' then extra[#extra + 1], extra[#extra + 2] = 'pass', '' end
  redis.call('HSET', job_prefix .. job, 'state', 'processing', 'attempt', attempt, 'started', string.format('%d', now),
    'worker', consumer, unpack(extra))
  if quiet ~= '1' then announce(job, f.org, token .. '.1', 'processing') end
end

-- repeated: the entry was delivered to this consumer by an earlier claim, whose answer was lost.
local function adopt(token, job, repeated)
  local f = read_entry(job)
  -- It stays pending: a worker that knows it recovers it, and this one asks no second time.
  if foreign(f.v, f.state) then return end
  if f.entry ~= token or not LIVE[f.state] then return release(token) end
  local attempt = tonumber(f.attempt or 0)
  local running, predating = f.state == 'processing', predates(token)
  if running and repeated and not predating then
    return answer(token, job, f, attempt, f.gate or string.match(chain, '^%S*'))
  end
  -- Running, and yet delivered anew: the group was lost and every lease with it. Or from before a fail-over: a claim of
  -- this entry, or the end of a run that this consumer has done with, may have been lost with the old master. Two runs
  -- with one token would be no fence (I4), and readers would take what one tells for the rest of the other (I10).
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
  -- Workers that have its gate, but hold others, and this one would hand a job that runs alone to and fro without a pause.
  local entry = throttle(job, names, priority_of(token, f.spec), token, f.created, f.deadline, wait,
    not passed_over and string.sub(token, 1, 1) == 'i')
  redis.call('HSET', job_prefix .. job, 'entry', entry, 'due', string.format('%.0f', now + wait))
  soonest = math.min(soonest < 0 and wait or soonest, wait, left)
  ends_soon = ends_soon or left <= tonumber(lease_ms)
  return release(token)
end

-- A corrupt record must not cost its neighbours their answer: what fails here stays pending and is met by recover.
local function adopt_all(letter, entries, repeated)
  for _, entry in ipairs(entries) do pcall(adopt, letter .. entry[1], entry[2] and entry[2][2] or '', repeated) end
  return #entries
end
