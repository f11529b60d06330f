-- The only place where an entry is delivered. Takes up to `limit` jobs for a consumer: organisations in turn, each one's by
-- priority.
-- poll: also take up to `suspects_max` suspects, and for a consumer that is `alone`, which holds no job, an isolated job:
-- then nothing else. lost: the reply to an earlier claim did not arrive, the items are the tokens that the consumer knows:
-- return the others first.
-- quiet: no `processing` event is published.
-- Jobs whose gates have no room are throttled; before that, throttled jobs are released whose gates have room.
-- KEYS line suspect isolated requeued high normal low wake round_robin counts gates throttled_deadlines failover ledger organizations policies rank_slots backlogs held_organizations due
-- PREFIX job log job_channel org organization_channel chain_set throttled throttled_by wake usage backlog delayed ended budget
-- ARGV consumer limit poll suspects_max alone lost lease_ms chain limits prices quiet fenced result_ttl log_ttl usage_ttl organization_events running_max slot_share bounds
-- ITEM known
-- RETURNS {more, now, ms until the caller must claim again for throttled jobs or -1, {gates that failed lately...},
--   {job, token, spec, attempt, created, deadline, losses, gate, route, passed over, reserved tokens, spent, lost bytes,
--   ready, logged, capped, bound, budgeted, mismatch, token limit, retained}...}
-- ready: time (ms) at which the job became claimable. logged: its earlier leases, as its record has them (`past`), 1 when
--   the log has events of a lease that is none of them, else 0. capped: 1 when the organisation has a cap on running jobs.
--   bound: nano-USD that the attempt may cost, empty: anything. budgeted: 1 when that is reserved in the budget of its
--   organisation. mismatch: why the text of an earlier attempt did not fit its schema. token limit: of its organisation
--   at each gate, a minute, 0: none. retained: 1 when the organisation has a retention of its own.
-- INCLUDE now ledger gate_states own_gates settled serving predating organizations releasing adopting filling answering redelivering rows saving_budgets failing

-- More would make the script too long.
local wanted = math.min(tonumber(limit), 1000)
local gates_wait, more

-- 1. Jobs of an earlier claim go first.
local function repeat_lost_answer()
  if lost ~= '1' then return end
  -- A write that cannot grow memory first.
  redis.call('PERSIST', wake)
  wanted = wanted - answer_lost_claim()
end

-- 2. Nothing is taken that operators paused. A caller without gates reads what they settled from a hash that it reads anyway;
-- where commands are billed it reads that only with `poll`.
local function read_gates()
  if limits == '' and poll ~= '1' then
    note_settled(fenced == '1' and read_marks()[SETTLED])
    note_limits()
  end
  if next(gate_limits) or poll == '1' then load_gates() end
end

-- 3. Throttled jobs go before new ones. A caller without gates releases only with `poll`: of gates that no worker names now.
local function release_from_gates()
  if not next(gate_limits) and poll ~= '1' then return end
  mark_served(false)
  if wanted <= 0 then return end

  local suspects_went
  gates_wait, suspects_went = release_throttled(wanted)
  if suspects_went then redis.call('ZADD', wake, -1, 'look') end
end

-- 4. A worker that runs an isolated job takes nothing beside it.
local function deliver_redelivered()
  if isolated_held then
    wanted = 0
  elseif poll == '1' then
    wanted = take_redelivered(wanted)
  end
end

-- 5. All others.
local function deliver_others()
  local left_some = deliver_waiting(wanted)
  more = replaced > 0 or left_some
end

-- 6. Work that is left wakes the next worker.
local function wake_others()
  if more then redis.call('ZADD', wake, 0, 'job') end
  if gates_wait == 0 then wake_for_room() end
  if ends_soon then redis.call('ZADD', wake, -1, 'look') end
  more = more or gates_wait == 0
end

local ok, failure = pcall(function()
  repeat_lost_answer()
  read_gates()
  if not is_paused(QUEUE) then
    release_from_gates()
    deliver_redelivered()
    deliver_others()
    wake_others()
  end
end)
-- Ends are booked and reservations kept, even if a later step failed.
if is_made('ledger') then
  local closed, why = pcall(close_books)
  if not closed then ok, failure = false, failure or why end
end
if is_made('gate_states') then
  if next(gates_changed) then mark_served(true) end
  save_gates()
end
save_counts()
if is_made('budgets') then save_budgets() end
if not ok then return error_of(failure) end

if gates_wait and gates_wait >= 0 then soonest = soonest < 0 and gates_wait or math.min(soonest, gates_wait) end
local doubtful = {}
for name, state in pairs(is_made('gate_states') and gate_states or {}) do
  if state.failures + state.blocks_in_a_row > 0 then doubtful[#doubtful + 1] = name end
end
local reply = {more and 1 or 0, string.format('%d', now), soonest > 0 and promise(soonest) or -1, doubtful}
for _, claim in ipairs(claims) do reply[#reply + 1] = claim end
return reply
