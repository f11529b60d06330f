-- Counts the jobs of all organisations and corrects their kept counts; lets an organisation in whose backlog has no entry in
-- the line. One call sees one moment: with more than `entries_max` entries, throttled jobs or organisations it corrects nothing.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations due ledger throttled_deadlines
-- PREFIX job backlog delayed
-- ARGV entries_max running_max
-- RETURNS organisations corrected or let in, -1: there are too many
-- INCLUDE lease ended_lines organizations backlog

local most, corrected = tonumber(entries_max), 0
-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)

local counted = {}

local function add(organization, field, more)
  counted[organization] = counted[organization] or {waiting = 0, running = 0, placed = 0}
  counted[organization][field] = counted[organization][field] + more
end

local function number_pair(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function delivered_until(stream)
  for _, group in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then return number_pair(group[i + 1]) end
    end
  end
  return 0, 0
end

local function count_stream(letter)
  local last_ms, last_seq = delivered_until(streams[letter])
  local entries = redis.call('XRANGE', streams[letter], '-', '+', 'COUNT', most + 1)
  for _, entry in ipairs(entries) do
    local ms, seq = number_pair(entry[1])
    local organization = entry[2][4]
    local delivered = ms < last_ms or ms == last_ms and seq <= last_seq
    if organization then add(organization, delivered and 'running' or 'waiting', 1) end
    if organization and not delivered and letter == 'q' then add(organization, 'placed', 1) end
  end
  return #entries
end

local function count_sets(index, prefix)
  local found = redis.call('ZRANGE', index, 0, most)
  for _, organization in ipairs(found) do
    add(organization, 'waiting', redis.call('ZCARD', prefix .. organization))
  end
  return #found
end

local function count_throttled()
  local jobs = redis.call('ZRANGE', throttled_deadlines, 0, most)
  for _, job in ipairs(jobs) do
    local f = redis.pcall('HMGET', job_prefix .. job, 'org', 'entry')
    if f[1] and string.sub(f[2] or '', 1, 1) == 't' then add(f[1], 'waiting', 1) end
  end
  return #jobs
end

local function correct(organization)
  local state, is_right = save(organization), true
  local right = counted[organization] or {waiting = 0, running = 0, placed = 0}
  right.running = right.running + ended_in_ledger(organization)
  right.policy = redis.call('HEXISTS', policies, organization)
  if right.waiting == 0 then right.kib = 0 end
  for field, value in pairs(right) do
    if state[field] ~= value then
      note(organization, field, value - state[field])
      is_right = false
    end
  end
  if refill(organization) then is_right = false end
  save(organization)
  if not is_right then corrected = corrected + 1 end
end

local met = count_stream('q') + count_stream('s') + count_stream('i') + count_sets(backlogs, backlog_prefix) +
  count_sets(due, delayed_prefix) + count_throttled() + redis.call('HLEN', organizations)
if met > most then return -1 end

for _, organization in ipairs(redis.call('HKEYS', organizations)) do
  counted[organization] = counted[organization] or {waiting = 0, running = 0, placed = 0}
end
for organization in pairs(counted) do pcall(correct, organization) end
if corrected > 0 then redis.call('ZADD', wake, 0, 'job') end
return corrected
