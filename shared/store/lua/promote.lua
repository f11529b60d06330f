-- Does all that is due: makes delayed jobs claimable, one of each organisation in turn, ends waiting jobs whose deadline has
-- passed, wherever they wait, and wakes workers for gates that have room. At most `limit` of each a call.
-- heads: also check the first new jobs, whose deadlines are in no index.
-- KEYS line suspect isolated requeued high normal low due_high due_normal due_low wake gates throttled_deadlines deadlines counts ledger organizations policies rank_slots backlogs held_organizations due
-- PREFIX job log job_channel org organization_channel chain_set throttled throttled_by wake usage backlog delayed ended budget
-- ARGV limit heads limits chain prices lease_ms result_ttl log_ttl usage_ttl organization_events running_max
-- RETURNS {jobs made claimable or ended, ms until the next call for due jobs or deadlines (0: there are more now) or -1, ms until
--   the next call for gates or -1, ms until the next of the new jobs is overdue or -1}
-- INCLUDE now ledger gate_states own_gates serving leaving deadlines backlog_deadlines unserved chain_sets delayed_jobs rechecking failing

local most, writing = tonumber(limit), false

-- A write that cannot grow memory first: a refusal fails the whole call, with the server's error.
local function begin_writing()
  if not writing then redis.call('PERSIST', wake) end
  writing = true
end

local soonest = -1
local function sooner(wait) if wait >= 0 then soonest = soonest < 0 and wait or math.min(soonest, wait) end end

local function promote_due()
  local left = most
  for _, queue in ipairs({'h', 'n', 'l'}) do
    local due_now, wait = due_of_old_set(queue, left)
    for _, job in ipairs(due_now) do
      begin_writing()
      -- A record that cannot be read is no job: it still leaves the set.
      if not pcall(promote_old, queue, job) then redis.call('ZREM', due_sets[queue], job) end
    end
    left = left - #due_now
    sooner(wait)
  end
  sooner(promote_organizations(left, begin_writing))
end

local throttled, gates_wait, heads_wait = false, -1, -1

local function expire_indexed()
  local left = most
  for _, index in ipairs({deadlines, throttled_deadlines}) do
    local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
    local wait = first[2] and tonumber(first[2]) - now or -1
    throttled = throttled or index == throttled_deadlines and first[1] ~= nil
    if first[2] and wait <= tonumber(lease_ms) then
      begin_writing()
      local met
      met, wait = expire_due(index, left)
      left = left - met
    end
    -- For a deadline that is near every caller comes back: the one that promised to might die.
    if wait <= tonumber(lease_ms) then sooner(wait) elseif index == throttled_deadlines then gates_wait = wait end
  end
end

local let_some_in = false

local function check_backlogs()
  heads_wait = expire_backlogs(most, begin_writing)
  if heads_wait >= 0 and heads_wait <= tonumber(lease_ms) then sooner(heads_wait) end
  local more_held
  let_some_in, more_held = let_in_all(most, begin_writing)
  if more_held then sooner(0) end
end

local function check_heads()
  if heads ~= '1' then return end
  begin_writing()
  for _, letter in ipairs({'q', 'h', 'n', 'l'}) do
    local wait = expire_heads(letter, most)
    if wait >= 0 then heads_wait = heads_wait < 0 and wait or math.min(heads_wait, wait) end
  end
end

local room = false

local function poll_queues()
  if not throttled then return end
  begin_writing()
  load_gates()
  mark_served(true)
  if move_old_sets(most) > 0 then sooner(0) end
  local ready, unserved_wait = false, nil
  room, unserved_wait = empty_unserved(most)
  if unserved_wait >= 0 then gates_wait = gates_wait < 0 and unserved_wait or math.min(gates_wait, unserved_wait) end
  for _, name in ipairs(own_gates) do
    local wait = queue_wait(name)
    ready = ready or wait ~= nil and wait <= 0
    if wait and wait > 0 then gates_wait = gates_wait < 0 and wait or math.min(gates_wait, wait) end
  end
  if ready then wake_for_room() end
  if gates_wait > 0 then gates_wait = promise(gates_wait) end
end

local ok, failure = pcall(function()
  promote_due()
  expire_indexed()
  check_backlogs()
  check_heads()
  poll_queues()
end)
-- Ends are booked and workers woken, even if a later step failed.
if is_made('gate_states') then save_gates() end
close_books()
if promoted > 0 or room or let_some_in then redis.call('ZADD', wake, 0, 'job') end
if suspects_among then redis.call('ZADD', wake, -1, 'look') end
if not ok then return error_of(failure) end
return {promoted + ended, soonest, gates_wait, heads_wait}
