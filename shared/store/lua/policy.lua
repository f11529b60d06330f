-- Changes the settings of one organisation, and lets it in again if it may run now.
-- policy: words as policies.lua reads them, empty: the defaults.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger
-- PREFIX job backlog
-- ARGV organization policy running_max
-- RETURNS 1 when entries of it were added to the line, else 0
-- INCLUDE organizations backlog

-- A write that cannot grow memory first, so that it works on a full server.
redis.call('PERSIST', wake)
if policy == '' then
  redis.call('HDEL', policies, organization)
else
  redis.call('HSET', policies, organization, policy)
end
local state = save(organization)
note(organization, 'policy', (policy == '' and 0 or 1) - state.policy)
redis.call('ZREM', held_organizations, organization)
local came = refill(organization)
save(organization)
if came then redis.call('ZADD', wake, 0, 'job') end
return came and 1 or 0
