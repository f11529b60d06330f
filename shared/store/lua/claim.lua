-- The only place where an entry is delivered. Takes up to `limit` jobs for a consumer, in the order of turns.lua.
-- look: also take from the recovered lane, when suspect_allowed; lost: the answer of an earlier claim did not arrive,
-- the items are the tokens the consumer knows of: answer the others first.
-- quiet: nobody is rung when a job starts.
-- Jobs that ask a gate without room are throttled; those of gates that have room are let go first.
-- KEYS again suspect high normal low wake turn counts suspects gates parked failover ledger
-- PREFIX job log bell org orgbell lane throttled wake usage
-- ARGV consumer limit look suspect_allowed lost chain limits prices quiet fenced lease_ms result_ttl log_ttl usage_ttl organization_events
-- ITEM known
-- RETURNS {more, now, ms until the caller must come for throttled jobs or -1, {gates that failed lately...},
--   {job, token, spec, attempt, created, deadline, losses, gate, route, passed over, reserved tokens, spent, lost bytes}...}
-- INCLUDE lease clock announce ending ledger spending replacing predating gate_states gates serving queues throttling queue_order releasing overdue adopting turns delivering

local function answer_again()
  local known_tokens = {}
  for i = ITEM_FIRST, #ARGV do known_tokens[ARGV[i]] = true end
  for letter, stream in pairs(streams) do
    for _, row in ipairs(redis.call('XPENDING', stream, GROUP, '-', '+', 1000, consumer)) do
      local entry = not known_tokens[letter .. row[1]] and redis.call('XRANGE', stream, row[1], row[1])[1]
      if entry then adopt_all(letter, {entry}, true) end
    end
  end
  return #claims
end

-- A caller that asks for more gets less: no script is longer for it.
local wanted = math.min(tonumber(limit), 1000)
local gates_wait, suspects_went

local function release_first()
  -- Queues of gates that nobody names any more are looked for now and then.
  if limits == '' and look ~= '1' then return end
  load_gates()
  mark_served(false)
  if wanted <= 0 then return end
  gates_wait, suspects_went = release_throttled(wanted)
  if suspects_went then redis.call('ZADD', wake, -1, 'look') end
end

local function deliver_suspects()
  if look == '1' and suspect_allowed == '1' and not holds_suspect and wanted > 0 then
    -- At odd turns a single slot is offered to high first, or recovered jobs would keep it waiting (I8).
    if wanted == 1 and turn_now() % 2 == 1 then deliver(1, high) end
    if taken.h == 0 then deliver(1, suspect) end
    if holds_suspect then redis.call('HSET', suspects, consumer, claims[#claims][2]) end
    if taken.s > 0 then
      wanted = wanted - 1
      if wanted == 0 or turn_now() % 2 == 0 then start = turn_now() + 1 end
    end
    if taken.s + taken.h > 0 then redis.call('ZADD', wake, -1, 'look') end
  end
end

local function run_all()
  if lost == '1' then
    -- A write that cannot grow memory first.
    redis.call('PERSIST', wake)
    wanted = wanted - answer_again()
  end
  release_first()
  deliver_suspects()
  deliver_in_turn(wanted)
  local more = put_anew or gates_wait == 0 or not exhausted() and wanted + taken.s > 0
  if more then
    redis.call('SET', turn, (turn_now() + total(taken)) % 16)
    redis.call('ZADD', wake, 0, 'job')
  end
  if ends_soon then redis.call('ZADD', wake, -1, 'look') end
  close_books()
  return more
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
  if state.failures + state.closings > 0 then doubtful[#doubtful + 1] = name end
end
local reply = {more and 1 or 0, string.format('%d', now), promise(soonest), doubtful}
for _, claim in ipairs(claims) do reply[#reply + 1] = claim end
return reply
