-- Knows how many tokens a minute an organisation may use at each gate.
-- ARGV tokens_max
-- INCLUDE policies

local given_limits = {}

-- Notes a limit that the caller knows: its settings need not be read.
local function note_token_limit(organization, per_minute) given_limits[organization] = per_minute end

-- 0: no limit.
local function token_limit_of(organization)
  return given_limits[organization] or limit_of(organization, 'tokens', tokens_max)
end
