-- The only place where an entry is delivered. Takes up to `limit` jobs for a consumer, in the order of turns.lua.
-- look: also take up to `suspects_max` suspects, and for a consumer that is `alone`, which holds nothing, an isolated job:
-- then nothing else. lost: the answer of an earlier claim did not arrive, the items are the tokens the consumer knows of:
-- answer the others first.
-- quiet: nobody is rung when a job starts.
-- Jobs that ask a gate without room are throttled; those of gates that have room are let go first.
-- KEYS requeued suspect isolated high normal low wake round_robin counts gates throttled_deadlines failover ledger
-- PREFIX job log job_channel org organization_channel chain_set throttled wake usage
-- ARGV consumer limit poll suspects_max alone lost lease_ms chain limits prices quiet fenced result_ttl log_ttl usage_ttl organization_events
-- ITEM known
-- RETURNS {more, now, ms until the caller must come for throttled jobs or -1, {gates that failed lately...},
--   {job, token, spec, attempt, created, deadline, losses, gate, route, passed over, reserved tokens, spent, lost bytes}...}
-- INCLUDE release lease clock announce ending ledger spending replacing predating gate_states gates serving queues throttling queue_order releasing overdue adopting round_robin delivering answering redelivering

-- A caller that asks for more gets less: no script is longer for it.
local wanted = math.min(tonumber(limit), 1000)
local gates_wait, suspects_went

local function release_first()
  -- Queues of gates that nobody names any more are looked for now and then.
  if limits == '' and poll ~= '1' then return end
  load_gates()
  mark_served(false)
  if wanted <= 0 then return end
  gates_wait, suspects_went = release_throttled(wanted)
  if suspects_went then redis.call('ZADD', wake, -1, 'look') end
end

local function run_all()
  if lost == '1' then
    -- A write that cannot grow memory first.
    redis.call('PERSIST', wake)
    wanted = wanted - answer_lost_claim()
  end
  release_first()
  if isolated_held then wanted = 0 elseif poll == '1' then wanted = take_redelivered(wanted) end
  deliver_round_robin(wanted)
  local more = redelivered_some or not exhausted() and wanted + taken.s > 0
  if more or gates_wait == 0 then redis.call('SET', round_robin, (slot_now() + total(taken)) % 16) end
  if more then redis.call('ZADD', wake, 0, 'job') end
  if gates_wait == 0 then wake_for_room() end
  if ends_soon then redis.call('ZADD', wake, -1, 'look') end
  close_books()
  return more or gates_wait == 0
end

local ok, more = pcall(run_all)
-- What was reserved stays reserved, whatever failed after it.
if next(gates_changed) then mark_served(true) end
save_gates()
if not ok then
  local message = type(more) == 'table' and more.err or tostring(more)
  return {err = string.match(message, '^%u+ ') and message or 'ERR ' .. message}
end
if gates_wait and gates_wait >= 0 then soonest = soonest < 0 and gates_wait or math.min(soonest, gates_wait) end
local doubtful = {}
for name, state in pairs(gate_states) do
  if state.failures + state.blocks_in_a_row > 0 then doubtful[#doubtful + 1] = name end
end
local reply = {more and 1 or 0, string.format('%d', now), promise(soonest), doubtful}
for _, claim in ipairs(claims) do reply[#reply + 1] = claim end
return reply
