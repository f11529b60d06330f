-- Corrects the counts of one organisation by those of its jobs that were counted over several calls, unless something changed
-- meanwhile. One job that comes while another goes may look as if nothing did: a difference is corrected that was found twice.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger
-- PREFIX job backlog delayed budget
-- ARGV organization token confirmed waiting running placed running_max
-- token: answered by the call before the first count; empty: this is that call. confirmed: the difference that was found before.
-- RETURNS {1: corrected or let in, 0: right, 2: wrong, -1: it changed; token, difference}
-- INCLUDE organizations ended_lines correcting

-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)
local packed = redis.call('HGET', organizations, organization) or ''
local ended = ended_in_ledger(organization)
local elsewhere = redis.call('ZCARD', backlog_prefix .. organization) + redis.call('ZCARD', delayed_prefix .. organization)
local token_now = table.concat({packed, ended, elsewhere}, ' ')
if token ~= token_now then return {-1, token_now, ''} end

local right = {waiting = waiting + elsewhere, running = running + ended, placed = tonumber(placed),
  policy = redis.call('HEXISTS', policies, organization)}
if is_right(organization, right) then return {0, token_now, ''} end

local kept, differences = unpack_counts(tonumber(packed) or 0), {}
for i, field in ipairs({'waiting', 'running', 'placed', 'policy'}) do differences[i] = right[field] - kept[field] end
local difference = table.concat(differences, ' ')
if difference ~= confirmed then return {2, token_now, difference} end

if not correct(organization, right) then return {0, token_now, ''} end
redis.call('ZADD', wake, 0, 'job')
return {1, token_now, ''}
