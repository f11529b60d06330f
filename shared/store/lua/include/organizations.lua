-- What is counted of organisations: one packed number for each in one hash (`organizations`), gone at zero. From its low end:
-- kib: KiB of prompts that wait (22 bits); placed: entries in the line (5); running: jobs that run, or ended and are in the
-- ledger (14); policy: `policies` has something of it (1); ranked: not all of its backlog is of one priority (1); waiting: jobs
-- that wait, wherever (20).

local UNITS = {kib = 1, placed = 2 ^ 22, running = 2 ^ 27, policy = 2 ^ 41, ranked = 2 ^ 42, waiting = 2 ^ 43}
local RANGES = {kib = 2 ^ 22, placed = 2 ^ 5, running = 2 ^ 14, policy = 2, ranked = 2, waiting = 2 ^ 20}
-- Half of a range and more is what became of a number below zero: damage, which counts as none until the audit.
local SIGNED = {placed = true, running = true}

-- The most of an organisation that may wait, whatever its limits: what the numbers hold.
local WAITING_MAX, KIB_MAX = 1000000, 4000000

local known, changes = {}, {}

local function unpack_counts(packed)
  local state = {}
  for field, unit in pairs(UNITS) do
    local value = math.floor(packed / unit) % RANGES[field]
    state[field] = SIGNED[field] and value >= RANGES[field] * 0.75 and 0 or value
  end
  return state
end

-- Written by save_counts, or with the next thing that is asked of the organisation.
local function note(organization, field, more)
  changes[organization] = (changes[organization] or 0) + more * UNITS[field]
  local state = known[organization]
  if state then state[field] = state[field] + more end
end

local function add_to_counts(organization, change)
  local text = string.format('%.0f', change)
  local ok, packed = pcall(redis.call, 'HINCRBY', organizations, organization, text)
  if ok then return packed end
  -- What is no number counts nothing.
  redis.call('HDEL', organizations, organization)
  return redis.call('HINCRBY', organizations, organization, text)
end

-- Writes what was noted of an organisation; answers how it stands then.
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

local function counts_of(organization) return known[organization] or save(organization) end

local function save_counts()
  for organization, change in pairs(changes) do
    if change ~= 0 then pcall(save, organization) end
  end
end

-- KiB that a job's specification counts for.
local function kib_of(bytes) return math.ceil(bytes / 1024) end

-- Whether a place is counted: the commit before had streams for each priority, and other sets for those that are delayed
-- or throttled.
local function is_counted(entry) return string.find(entry, '^[qsibt]') ~= nil or entry == 'd' end

-- A job begins to wait, or waits no more.
local function note_waiting(organization, more, bytes)
  note(organization, 'waiting', more)
  note(organization, 'kib', more * kib_of(bytes))
end
