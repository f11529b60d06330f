-- Settles what holds for one organisation, and lets it in again where it may run now.
-- policy: words as policies.lua reads them, empty: nothing but the defaults.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger
-- PREFIX job backlog
-- ARGV organization policy running_max
-- RETURNS 1 when jobs of it came into the line, else 0
-- INCLUDE organizations backlog

-- A write that cannot grow memory first: a full server takes it too.
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
