-- Corrects the counts of one organisation by those of its jobs that were counted over several calls, unless something changed
-- meanwhile. One job that comes while another goes may look as if nothing did: a difference is corrected that was found twice.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger
-- PREFIX job backlog delayed suspect_backlog budget
-- ARGV organization token confirmed waiting running placed suspects running_max
-- token: answered by the call before the first count; empty: this is that call. confirmed: the difference that was found before.
-- RETURNS {1: corrected or let in, 0: right, 2: wrong, -1: it changed; token, difference}
-- INCLUDE organizations ended_lines correcting suspect_line

-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)
local packed = redis.call('HGET', organizations, organization) or ''
local ended = ended_in_ledger(organization)
local kept_suspects = redis.call('HGET', placed_suspects, organization) or '0'
local elsewhere = 0
for _, prefix in ipairs({backlog_prefix, delayed_prefix, suspect_backlog_prefix}) do
  elsewhere = elsewhere + redis.call('ZCARD', prefix .. organization)
end
local token_now = table.concat({packed, ended, elsewhere, kept_suspects}, ' ')
if token ~= token_now then return {-1, token_now, ''} end

local right = {waiting = waiting + elsewhere, running = running + ended, placed = tonumber(placed),
  policy = redis.call('HEXISTS', policies, organization)}
if is_right(organization, right) and kept_suspects == suspects then return {0, token_now, ''} end

local kept, differences = unpack_counts(tonumber(packed) or 0), {suspects - (tonumber(kept_suspects) or 0)}
for i, field in ipairs({'waiting', 'running', 'placed', 'policy'}) do differences[i + 1] = right[field] - kept[field] end
local difference = table.concat(differences, ' ')
if difference ~= confirmed then return {2, token_now, difference} end

-- What was counted wrong is forgotten when nothing waits.
if right.waiting == 0 then redis.call('DEL', waiting_chains_prefix .. organization) end
local was_wrong = correct_suspects(organization, tonumber(suspects))
if not is_right(organization, right) then was_wrong = correct(organization, right) or was_wrong end
if not was_wrong then return {0, token_now, ''} end
redis.call('ZADD', wake, -1, 'look', 0, 'job')
return {1, token_now, ''}
