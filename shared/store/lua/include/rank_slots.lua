-- Chooses the next jobs of a backlog.
-- INCLUDE organizations places policies

-- Of 16 slots 12 follow high > normal > low, 3 begin at normal and 1 at low; a lower one only after a high one, so that a
-- waiting high job is never passed over twice in a row (I8).
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
  if #waiting[0] + #waiting[2] == 0 and counts_of(organization).ranked == 1 then
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
  -- Withheld jobs are above all ranks.
  if counts_of(organization).ranked == 1 or policy_of(organization).projects then return pop_ranked(organization, most) end
  local flat, jobs = redis.call('ZPOPMIN', backlog_prefix .. organization, most), {}
  for i = 1, #flat, 2 do jobs[#jobs + 1] = {flat[i], flat[i + 1]} end
  return jobs
end
