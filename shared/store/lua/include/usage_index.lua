-- Remembers which organisations have usage, and the last day of it.
-- KEYS usage_organizations
-- ARGV usage_ttl

local function index_usage(organization, day)
  redis.call('ZADD', usage_organizations, 'GT', day, organization)
  local oldest = tonumber(day) - math.floor(tonumber(usage_ttl) / 86400000) - 1
  redis.call('ZREMRANGEBYSCORE', usage_organizations, '-inf', oldest)
end
