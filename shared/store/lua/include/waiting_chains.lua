-- Bounds the chains of their own with which jobs of an organisation wait. `waiting_chains:<org>` has how many wait with each.
-- INCLUDE organizations

local CHAINS_MAX = 16
local stored_chains = {}

local function chains_of(organization)
  if not stored_chains[organization] then
    stored_chains[organization] = {}
    local flat = redis.call('HGETALL', waiting_chains_prefix .. organization)
    for i = 1, #flat, 2 do stored_chains[organization][flat[i]] = tonumber(flat[i + 1]) or 0 end
  end
  return stored_chains[organization]
end

-- The refusal of a job that is counted as waiting, if it is the first to wait with its chain and there are enough; else nil. Fewer
-- jobs have no more chains: then nothing is read.
local function chain_refusal(organization, route)
  if counts_of(organization).waiting <= CHAINS_MAX then return nil end
  local stored, changed = chains_of(organization), chain_changes[organization]
  if (stored[route] or 0) + changed[route] > 1 then return nil end

  local count, jobs = 0, 0
  local function add(waiting)
    if waiting > 0 then count, jobs = count + 1, jobs + waiting end
  end
  for name, waiting in pairs(stored) do add(waiting + (changed[name] or 0)) end
  for name, waiting in pairs(changed) do
    if not stored[name] then add(waiting) end
  end
  if count <= CHAINS_MAX then return nil end
  if jobs <= counts_of(organization).waiting then return string.format('waitingChains %d', CHAINS_MAX) end
  -- More than wait at all: workers of an older release started some, and did not count them. They are counted again from here on.
  redis.call('DEL', waiting_chains_prefix .. organization)
  stored_chains[organization] = {}
end
