-- Does all that is due: makes delayed jobs claimable, high before normal before low, ends waiting jobs whose deadline has
-- passed, and wakes workers for gates that have room. At most `limit` of each a call.
-- heads: also check the first new jobs of each stream, whose deadlines are in no index.
-- KEYS requeued suspect isolated high normal low due_high due_normal due_low wake gates throttled_deadlines deadlines counts ledger
-- PREFIX job log job_channel org organization_channel chain_set throttled wake usage
-- ARGV limit heads limits chain prices lease_ms result_ttl log_ttl usage_ttl organization_events
-- RETURNS {jobs made claimable or ended, ms until the next call for due jobs or deadlines (0: there are more now) or -1, ms until
--   the next call for gates or -1, ms until the next of the new jobs is overdue or -1}
-- INCLUDE release lease now ledger gate_states serving deadlines unserved chain_sets

local promoted, suspects_among, most, writing = 0, false, tonumber(limit), false

-- A write that cannot grow memory first: a refusal fails the whole call, with the server's error.
local function begin_writing()
  if not writing then redis.call('PERSIST', wake) end
  writing = true
end

local function promote(queue, set, job)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'state', 'entry', 'losses', 'deadline', 'v')
  -- Left to a worker of the release that knows it; the others check again in a lease.
  if foreign(f[5], f[1]) then return redis.call('ZADD', set, 'XX', string.format('%d', now + tonumber(lease_ms)), job) end
  redis.call('ZREM', set, job)
  if f[1] ~= 'queued' or f[2] ~= 'd' .. queue then return end
  local letter = queue_after(f[3])
  suspects_among = suspects_among or is_suspect(letter)
  local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  redis.call('HSET', record, 'entry', entry)
  -- In the stream it may be behind jobs with more time, where no check of the first jobs would find it.
  if tonumber(f[4]) <= now + 2 * tonumber(lease_ms) then redis.call('ZADD', deadlines, f[4], job) end
  promoted = promoted + 1
end

local soonest = -1
local function sooner(wait) if wait >= 0 then soonest = soonest < 0 and wait or math.min(soonest, wait) end end

local left = most
for _, queue in ipairs({'h', 'n', 'l'}) do
  local set = due_sets[queue]
  local due = redis.call('ZRANGEBYSCORE', set, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, math.max(left, 1) + 1)
  for i = 1, #due, 2 do
    local wait = tonumber(due[i + 1]) - now
    if wait > 0 or left <= 0 then
      sooner(math.max(wait, 0))
      break
    end
    begin_writing()
    -- A record that cannot be read is no job: it still leaves the set.
    if not pcall(promote, queue, set, due[i]) then redis.call('ZREM', set, due[i]) end
    left = left - 1
  end
end

left = most
local throttled, gates_wait, heads_wait = false, -1, -1
for _, index in ipairs({deadlines, throttled_deadlines}) do
  local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  local wait = first[2] and tonumber(first[2]) - now or -1
  throttled = throttled or index == throttled_deadlines and first[1] ~= nil
  if first[2] and wait <= tonumber(lease_ms) then
    begin_writing()
    local met
    met, wait = expire_due(index, left)
    left = left - met
  end
  -- For a deadline that is near every caller comes back: the one that promised to might die.
  if wait <= tonumber(lease_ms) then sooner(wait) elseif index == throttled_deadlines then gates_wait = wait end
end

if heads == '1' then
  begin_writing()
  for _, letter in ipairs({'h', 'n', 'l'}) do
    local wait = expire_heads(letter, most)
    if wait >= 0 then heads_wait = heads_wait < 0 and wait or math.min(heads_wait, wait) end
  end
end

local room, ready, moved = false, false, 0
if throttled then
  begin_writing()
  load_gates()
  mark_served(true)
  read_fleet(function(names) if moved < most then moved = moved + math.max(move_chain_set(names, most - moved), 1) end end)
  if moved > 0 then sooner(0) end
  local unserved_wait
  room, unserved_wait = empty_unserved(most)
  if unserved_wait >= 0 then gates_wait = gates_wait < 0 and unserved_wait or math.min(gates_wait, unserved_wait) end
  for _, name in ipairs(own_gates) do
    local wait = queue_wait(name)
    ready = ready or wait ~= nil and wait <= 0
    if wait and wait > 0 then gates_wait = gates_wait < 0 and wait or math.min(gates_wait, wait) end
  end
  if ready then wake_for_room() end
  if gates_wait > 0 then gates_wait = promise(gates_wait) end
  save_gates()
end
if promoted > 0 or room then redis.call('ZADD', wake, 0, 'job') end
if suspects_among then redis.call('ZADD', wake, -1, 'look') end
close_books()
return {promoted + ended, soonest, gates_wait, heads_wait}
