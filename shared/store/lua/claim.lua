-- The only place where an entry is delivered. Takes up to `limit` jobs for a consumer, in the order of turns.lua.
-- look: also take up to `suspects_max` suspects, and for a consumer that is `alone`, which holds nothing, an isolated job:
-- then nothing else. lost: the answer of an earlier claim did not arrive, the items are the tokens the consumer knows of:
-- answer the others first.
-- quiet: nobody is rung when a job starts.
-- Jobs that ask a gate without room are parked; parked ones of gates that have room are let go first.
-- KEYS again suspect isolated high normal low wake turn counts gates parked failover ledger
-- PREFIX job log bell org orgbell lane usage
-- ARGV consumer limit look suspects_max alone lost lease_ms chain limits prices quiet fenced result_ttl log_ttl usage_ttl organization_events
-- ITEM known
-- RETURNS {more, now, ms until a parked job may run or -1, {gates that failed lately...},
--   {job, token, spec, attempt, created, deadline, losses, gate, route, passed over, reserved tokens, spent, lost bytes}...}
-- INCLUDE release lease clock announce ending ledger spending replacing predating gates parking releasing adopting turns delivering answering redelivering

local wanted = tonumber(limit)
-- Lanes of gates that nobody names any more are looked for now and then.
if limits ~= '' or look == '1' then load_gates() end
if lost == '1' then wanted = wanted - answer_again() end
local lanes_wait, lanes_suspects
if next(lanes) and wanted > 0 then
  lanes_wait, lanes_suspects = release_parked(wanted)
  if lanes_suspects then redis.call('ZADD', wake, -1, 'look') end
end
if isolated_held then wanted = 0 elseif look == '1' then wanted = take_redelivered(wanted) end
deliver_in_turn(wanted)

local more = put_anew or lanes_wait == 0 or not exhausted() and wanted + taken.s > 0
if more then
  redis.call('SET', turn, (turn_now() + total(taken)) % 16)
  redis.call('ZADD', wake, 0, 'job')
end
close_books()
save_gates()
if lanes_wait and lanes_wait > 0 then soonest = soonest < 0 and lanes_wait or math.min(soonest, lanes_wait) end
local doubtful = {}
for name, state in pairs(gate_states) do
  if state.failures + state.closings > 0 then doubtful[#doubtful + 1] = name end
end
return {more and 1 or 0, string.format('%d', now), promise(soonest), doubtful, unpack(claims)}
