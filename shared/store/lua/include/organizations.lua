-- Keeps the counts of organisations: one packed number for each in one hash (`organizations`), deleted at zero. From its low end:
-- kib: KiB of prompts that wait (22 bits); placed: entries in the line (5); running: jobs that run, or ended and are in the
-- ledger (14); policy: `policies` has a field of it (1); ranked: its backlog has more than one priority (1); waiting: jobs
-- that wait, wherever (20). `waiting_chains:<org>` counts those that wait with a chain of their own, by chain.
-- PREFIX waiting_chains

local UNITS = {kib = 1, placed = 2 ^ 22, running = 2 ^ 27, policy = 2 ^ 41, ranked = 2 ^ 42, waiting = 2 ^ 43}
local RANGES = {kib = 2 ^ 22, placed = 2 ^ 5, running = 2 ^ 14, policy = 2, ranked = 2, waiting = 2 ^ 20}
-- Limits of the packed numbers: the most of an organisation that may wait, whatever its own limits.
local WAITING_MAX, KIB_MAX = 1000000, 4000000
-- From here on a number is below zero: damage, which counts as zero until the audit. One call adds some to what may wait.
local BELOW_ZERO = {kib = KIB_MAX + 65536, placed = 24, running = 12288, waiting = WAITING_MAX + 16384}

local known, changes = {}, {}
-- By organisation and chain: how many more jobs wait with it than when the call began.
local chain_changes = {}

local function unpack_counts(packed)
  local state = {}
  for field, unit in pairs(UNITS) do
    local value = math.floor(packed / unit) % RANGES[field]
    state[field] = BELOW_ZERO[field] and value >= BELOW_ZERO[field] and 0 or value
  end
  return state
end

-- Notes a change; it is written by save_counts, or with the next read of this organisation.
local function note(organization, field, more)
  changes[organization] = (changes[organization] or 0) + more * UNITS[field]
  local state = known[organization]
  if state then state[field] = state[field] + more end
end

local function add_to_counts(organization, change)
  local text = string.format('%.0f', change)
  local packed = redis.pcall('HINCRBY', organizations, organization, text)
  if type(packed) == 'number' then return packed end
  -- A field that is no number counts as zero. Other errors are refusals: the count is right.
  if not string.find(packed.err, 'integer', 1, true) then error(packed, 0) end
  redis.call('HDEL', organizations, organization)
  return redis.call('HINCRBY', organizations, organization, text)
end

-- Writes the noted changes of an organisation. Returns its counts.
local function save(organization)
  local change = changes[organization] or 0
  changes[organization] = nil
  local packed = add_to_counts(organization, change)
  local state = unpack_counts(packed)
  if state.waiting == 0 and state.ranked == 1 then
    redis.call('HDEL', rank_slots, organization)
    packed = add_to_counts(organization, -UNITS.ranked)
    state.ranked = 0
  end
  if packed == 0 then redis.call('HDEL', organizations, organization) end
  known[organization] = state
  return state
end

-- Counts of an organisation with what was noted, which a number holds exactly for 512 jobs.
local function counts_of(organization)
  if known[organization] and math.abs(changes[organization] or 0) < 2 ^ 52 then return known[organization] end
  return save(organization)
end

local function add_to_chain(organization, route, more)
  local chains = waiting_chains_prefix .. organization
  if more ~= 0 and redis.call('HINCRBY', chains, route, more) <= 0 then redis.call('HDEL', chains, route) end
end

local function save_counts()
  for organization, change in pairs(changes) do
    if change ~= 0 then pcall(save, organization) end
  end
  for organization, changed in pairs(chain_changes) do
    for route, more in pairs(changed) do pcall(add_to_chain, organization, route, more) end
  end
  chain_changes = {}
end

-- KiB for which a job's specification counts.
local function kib_of(bytes) return math.ceil(bytes / 1024) end

-- Whether a job at this place is counted: an older release had streams for each priority, and other sets for delayed and
-- throttled jobs.
local function is_counted(entry) return string.find(entry, '^[qsibt]') ~= nil or entry == 'd' end

-- Notes that a job begins to wait (1), or waits no more (-1). route: the chain of its own, if it has one.
local function note_waiting(organization, more, bytes, route)
  note(organization, 'waiting', more)
  note(organization, 'kib', more * kib_of(bytes))
  if (route or '') == '' then return end
  local changed = chain_changes[organization] or {}
  changed[route], chain_changes[organization] = (changed[route] or 0) + more, changed
end
