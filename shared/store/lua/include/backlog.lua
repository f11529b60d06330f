-- The one way in: a claimable job stands in the line where its organisation has room there (as many entries as its weight),
-- else in the organisation's backlog, a sorted set by place. `backlogs` has, by organisation, when to look for deadlines there.
-- INCLUDE lease organizations policies quotas places

local function add_entry(letter, job, organization)
  return letter .. redis.call('XADD', streams[letter], '*', 'j', job, 'o', organization)
end

-- Reserves an entry in the line, and writes what was noted before; answers whether there is room.
local function reserve_entry(organization)
  local state = known[organization]
  local room = not state or state.placed < weight_of(organization)
  if room then note(organization, 'placed', 1) end
  state = save(organization)
  if room and (state.placed > weight_of(organization) or is_held(organization)) then
    note(organization, 'placed', -1)
    room = false
  end
  return room
end

local function add_to_backlog(organization, job, place, deadline)
  redis.call('ZADD', backlog_prefix .. organization, place, job)
  redis.call('ZADD', backlogs, 'LT', deadline, organization)
  if rank_of(place) ~= RANKS.n and counts_of(organization).ranked == 0 then note(organization, 'ranked', 1) end
  if is_held(organization) then note_held(organization) end
  return 'b'
end

-- Puts a job whose wait is counted where claims find it; answers its new entry.
local function enter(organization, job, place, losses, deadline)
  local letter = queue_after(losses)
  if letter ~= 'q' then return add_entry(letter, job, organization) end
  if reserve_entry(organization) then return add_entry('q', job, organization) end
  return add_to_backlog(organization, job, place, deadline)
end

-- Of 16 slots 12 serve high > normal > low, 3 begin at normal and 1 at low; a lower one only where the one before was high:
-- so a waiting high job is never passed over twice in a row.
local SLOT_ORDERS = {high = {0, 1, 2}, normal = {1, 0, 2}, low = {2, 1, 0}}

local function slot_order(slot, owed)
  if owed then return SLOT_ORDERS.high end
  if slot == 14 then return SLOT_ORDERS.low end
  return slot % 4 == 2 and SLOT_ORDERS.normal or SLOT_ORDERS.high
end

local function pop_ranked(organization, most)
  local waiting, key = {}, backlog_prefix .. organization
  for rank = 0, 2 do
    local from, to = string.format('%.0f', rank * RANK_WIDTH), string.format('(%.0f', (rank + 1) * RANK_WIDTH)
    waiting[rank] = redis.call('ZRANGEBYSCORE', key, from, to, 'WITHSCORES', 'LIMIT', 0, most)
  end
  if #waiting[0] + #waiting[2] == 0 then
    note(organization, 'ranked', -1)
    redis.call('HDEL', rank_slots, organization)
  end

  local slot, owed = string.match(redis.call('HGET', rank_slots, organization) or '', '^(%d+) (%d)$')
  local jobs, taken_of, names = {}, {[0] = 0, 0, 0}, {}
  slot, owed = tonumber(slot or 0), owed == '1'
  while #jobs < most do
    local rank
    for _, candidate in ipairs(slot_order(slot, owed and #waiting[0] > 2 * taken_of[0])) do
      if not rank and #waiting[candidate] > 2 * taken_of[candidate] then rank = candidate end
    end
    if not rank then break end
    local at = 2 * taken_of[rank]
    jobs[#jobs + 1], names[#names + 1] = {waiting[rank][at + 1], waiting[rank][at + 2]}, waiting[rank][at + 1]
    taken_of[rank] = taken_of[rank] + 1
    slot, owed = (slot + 1) % 16, rank ~= 0
  end
  if #jobs == 0 then return jobs end
  if #waiting[0] + #waiting[2] > 0 then
    redis.call('HSET', rank_slots, organization, slot .. ' ' .. (owed and 1 or 0))
  end
  redis.call('ZREM', key, unpack(names))
  return jobs
end

-- Takes the next jobs out of a backlog, at most `most`: {job, place} each.
local function pop(organization, most)
  if counts_of(organization).ranked == 1 then return pop_ranked(organization, most) end
  local flat, jobs = redis.call('ZPOPMIN', backlog_prefix .. organization, most), {}
  for i = 1, #flat, 2 do jobs[#jobs + 1] = {flat[i], flat[i + 1]} end
  return jobs
end

-- Lets an organisation's next job into the line. What fails leaves the job in its backlog.
local function place_next(organization)
  local found = pop(organization, 1)[1]
  if not found then return false end
  local ok, entry = pcall(add_entry, 'q', found[1], organization)
  if not ok then
    redis.call('ZADD', backlog_prefix .. organization, found[2], found[1])
    return false
  end
  note(organization, 'placed', 1)
  redis.call('HSET', job_prefix .. found[1], 'entry', entry)
  return true
end

-- Fills up an organisation's entries in the line; answers whether any came.
local function refill(organization)
  local came = false
  while counts_of(organization).waiting > 0 and counts_of(organization).placed < weight_of(organization) do
    if is_held(organization) then
      note_held(organization)
      break
    end
    if not place_next(organization) then break end
    came = true
  end
  return came
end

-- Lets an organisation in again that was held, if it may run.
local function let_in(organization)
  if is_held(organization) or redis.call('ZREM', held_organizations, organization) == 0 then return false end
  return refill(organization)
end
