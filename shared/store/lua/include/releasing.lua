-- Makes throttled jobs claimable whose gates have room: one of each gate at a time, in the order of its queue, at the rate
-- of the gate, no more than the caller can take, and in a bounded number of steps.
-- INCLUDE release now gate_states own_gates gate_users gates serving queues asking throttling queue_order resting token_limits

local RELEASE_STEPS, RETRY_MS, BROKEN_MS = 64, 50, 60000
-- Gates whose next job needs more room than there is; gates with jobs that wait for the slow start of another gate.
local stuck, slow_gates = {}, {}

local function poll_later(name, wait)
  gate(name).poll_at, gates_changed[name] = now + wait, true
  return false
end

-- Returns whether to ask the gate again, whether a job was released, and whether it is a suspect.
local function release_one(name)
  if wait_of(name, 0) > 0 then return false end
  for _, waiting in ipairs({name, in_chain[name] and FLEET or nil}) do end_rests(waiting) end
  local job, queue, organization = next_for(name, last_in_turn(gate(name)))
  if not job then
    if has_ready(name) then return poll_later(name, slow_gates[name] and RETRY_MS or tonumber(lease_ms)) end
    return false
  end
  local record = job_prefix .. job
  local f = read_throttled(job)
  -- Left to a worker of the release that knows it.
  if foreign(f.v, f.state) then return skip(name, job) or poll_later(name, tonumber(lease_ms)) end
  local names = string.match(f.entry or '', '^t(.+)$')
  if f.state ~= 'queued' or not names or not string.find(' ' .. names .. ' ', ' ' .. queue .. ' ', 1, true) then
    leave_queue(queue, organization, job)
    return true
  end
  if has_all then
    note_served(name, queue, organization)
    return true, true, let_go(job, f)
  end
  local chain_text = names == FLEET and chain or names
  local function need(per_minute) return need_of(per_minute, redis.call('HSTRLEN', record, 'spec'), f.max_tokens) end
  local found, soonest, reasons, need_or_why = ask_chain(chain_text, organization, need, false, name, stuck)
  if not found and need_or_why == 'slow_start' and wait_of(name, 0, organization) == 0 then
    slow_gates[name] = true
    return skip(name, job) or poll_later(name, RETRY_MS)
  end
  if not found and need_or_why == OWN_LIMIT then
    return rest_or_skip(name, organization, need) or poll_later(name, RETRY_MS)
  end
  if not found then
    stuck[name] = true
    return poll_later(name, soonest)
  end
  local is_limited = gate_limits[found] or token_limit_of(organization) > 0
  local pass = is_limited and string.format('%s %.0f %d %s', found, now, need_or_why, table.concat(reasons, ','))
  -- Reserved first: an error after it may waste a reservation, but exceeds no limit.
  admit_call(found, need_or_why, organization)
  gate(name).slot, gates_changed[name] = (gate(name).slot + 1) % 16, true
  note_served(name, queue, organization)
  return true, true, let_go(job, f, pass)
end


-- Returns ms until the next job may be released (-1: none waits), and whether suspects were released.
local function release_throttled(left)
  local suspects_among, due, steps = false, {}, left + RELEASE_STEPS
  for _, name in ipairs(own_gates) do
    if (queue_wait(name) or 1) <= 0 then due[#due + 1] = name end
  end
  -- A write that cannot grow memory: a refusal fails the whole call before a job was released.
  if #due > 0 then redis.call('PERSIST', throttled_deadlines) end
  while #due > 0 and left > 0 and steps > 0 do
    local still_due = {}
    for _, name in ipairs(due) do
      local ok, more, went, suspect = true, true, false, false
      if left > 0 and steps > 0 then ok, more, went, suspect = pcall(release_one, name) end
      steps = steps - 1
      -- A queue that cannot be read is polled rarely until an operator repairs it.
      if not ok then more = poll_later(name, BROKEN_MS) end
      if ok and went then left, suspects_among = left - 1, suspects_among or suspect end
      if more then still_due[#still_due + 1] = name end
    end
    due = still_due
  end
  local soonest = -1
  for _, name in ipairs(own_gates) do
    local wait = queue_wait(name)
    wait = wait and math.max(wait, 0)
    if wait then soonest = soonest < 0 and wait or math.min(soonest, wait) end
  end
  return soonest, suspects_among
end
