-- Requeues entries of one stream that were delivered and are pending for no consumer, a page in each call. The first page
-- also deletes consumers that went away, and forgets workers that died long ago.
-- KEYS line suspect isolated requeued high normal low wake suspects organizations policies rank_slots backlogs held_organizations ledger workers
-- PREFIX job log backlog budget
-- ARGV queue start page consumer_idle_ms running_max
-- RETURNS {requeued, consumers deleted, start of the next page or empty}
-- INCLUDE release lease clock organizations replacing saving_budgets

local FORGOTTEN_MAX = 500
local stream, requeued_count, deleted = streams[queue], 0, 0
-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)

local function requeue_entry(entry)
  local id, job = entry[1], entry[2][2]
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'losses', 'v', 'org', 'place', 'deadline', 'spec', 'created',
    'reserved', 'route')
  if foreign(f[4], f[1]) then return end
  if LIVE[f[1]] and f[2] == queue .. id then
    if f[1] == 'processing' then
      if is_counted(f[2]) then note(f[5], 'running', -1) end
      note_waiting(f[5], 1, #f[8], f[11])
    end
    replace_entry(job, {entry = f[2], losses = f[3], org = f[5], place = f[6], deadline = f[7], spec = f[8],
      created = f[9], reserved = f[10]})
    requeued_count = requeued_count + 1
  end
  redis.call('XDEL', stream, id)
end

local function last_delivered()
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then return group[i + 1] end end
  end
end

-- Returns the start of the next page; empty after the last one.
local function check_page(delivered)
  local entries, pending = redis.call('XRANGE', stream, start, delivered, 'COUNT', page), {}
  if #entries == 0 then return '' end
  for _, row in ipairs(redis.call('XPENDING', stream, GROUP, entries[1][1], entries[#entries][1], page)) do
    pending[row[1]] = true
  end
  for _, entry in ipairs(entries) do
    -- Entries that were deleted while they were pending may have filled the page of XPENDING: so each is checked again.
    if not pending[entry[1]] and #redis.call('XPENDING', stream, GROUP, entry[1], entry[1], 1) == 0 then
      pcall(requeue_entry, entry)
    end
  end
  return #entries == tonumber(page) and '(' .. entries[#entries][1] or ''
end

local function delete_consumers()
  for _, worker in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do
    local f = {}
    for i = 1, #worker, 2 do f[worker[i]] = worker[i + 1] end
    if f.pending == 0 and f.idle > tonumber(consumer_idle_ms) and deleted < FORGOTTEN_MAX then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, f.name)
      deleted = deleted + 1
    end
  end
end

-- A field of `suspects` is needed until all jobs of its worker were found: no longer than the worker's consumers.
local function forget_suspects()
  local found, old = redis.pcall('HSCAN', suspects, 0, 'COUNT', FORGOTTEN_MAX)[2] or {}, {}
  for i = 1, #found, 2 do
    if #old < FORGOTTEN_MAX and now_ms() - (tonumber(found[i + 1]) or 0) > tonumber(consumer_idle_ms) then
      old[#old + 1] = found[i]
    end
  end
  if #old > 0 then redis.call('HDEL', suspects, unpack(old)) end
end

-- Workers that ended without a word: not registered for long, and no consumer of this stream any more.
local function forget_workers()
  local old, there = {}, {}
  for _, worker in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do there[worker[2]] = true end
  local found = redis.pcall('HSCAN', workers, 0, 'COUNT', FORGOTTEN_MAX)[2] or {}
  for i = 1, #found, 2 do
    local name, at = string.gsub(found[i], '^!', ''), tonumber(string.match(found[i + 1], '"at":(%d+)'))
    if at and not there[name] and now_ms() - at > 2 * tonumber(consumer_idle_ms) and #old < FORGOTTEN_MAX then
      old[#old + 1], old[#old + 2] = name, '!' .. name
    end
  end
  if #old > 0 then redis.call('HDEL', workers, unpack(old)) end
end

if start == '-' then delete_consumers() end
if start == '-' and queue == 'q' then forget_workers() end
if start == '-' and is_suspect(queue) then forget_suspects() end
local delivered = last_delivered()
local go_on = delivered and check_page(delivered) or ''
save_counts()
save_budgets()
if requeued_count > 0 then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
return {requeued_count, deleted, go_on}
