-- Counts the jobs of all organisations and corrects their kept counts; lets an organisation in whose backlog has no entry in
-- the line. One call sees one moment: with more than `entries_max` entries, throttled jobs or organisations it corrects nothing.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations due ledger throttled_deadlines
-- PREFIX job backlog delayed budget
-- ARGV entries_max running_max
-- RETURNS organisations corrected or let in, -1: there are too many
-- INCLUDE lease ended_lines organizations backlog

local most, corrected = tonumber(entries_max), 0
-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)

local counted, has_policy = {}, {}

local function add(organization, field, more)
  counted[organization] = counted[organization] or {waiting = 0, running = 0, placed = 0}
  counted[organization][field] = counted[organization][field] + more
end

local function delivered_until(stream)
  for _, group in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then return group[i + 1] end
    end
  end
  return '0-0'
end

local function count_stream(letter)
  local last = delivered_until(streams[letter])
  for _, entry in ipairs(redis.call('XRANGE', streams[letter], '-', last)) do
    if entry[2][4] then add(entry[2][4], 'running', 1) end
  end
  for _, entry in ipairs(redis.call('XRANGE', streams[letter], '(' .. last, '+')) do
    if entry[2][4] then add(entry[2][4], 'waiting', 1) end
    if entry[2][4] and letter == 'q' then add(entry[2][4], 'placed', 1) end
  end
end

local function count_sets(index, prefix)
  for _, organization in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local members = redis.call('ZCARD', prefix .. organization)
    if members > 0 then add(organization, 'waiting', members) end
  end
end

local function count_throttled()
  for _, job in ipairs(redis.call('ZRANGE', throttled_deadlines, 0, -1)) do
    local f = redis.pcall('HMGET', job_prefix .. job, 'org', 'entry')
    if f[1] and string.sub(f[2] or '', 1, 1) == 't' then add(f[1], 'waiting', 1) end
  end
end

-- The packed number of an organisation by what was counted, but for KiB and ranks, which are kept only.
local function right_number(organization, right)
  right.running = right.running + ended_in_ledger(organization)
  right.policy = has_policy[organization] and 1 or 0
  local number = 0
  for field, value in pairs(right) do number = number + value * UNITS[field] end
  return number
end

local function correct(organization, kept)
  local right, is_right = counted[organization] or {waiting = 0, running = 0, placed = 0}, true
  local number = right_number(organization, right)
  local kib, ranked = kept % RANGES.kib, math.floor(kept / UNITS.ranked) % 2
  local may_enter = right.waiting > right.placed and right.placed == 0
  if kept == number + kib + ranked * UNITS.ranked and (right.waiting > 0 or kib == 0) and not may_enter then return end

  local state = save(organization)
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

local function size_of(command, ...)
  local sum = 0
  for _, key in ipairs({...}) do sum = sum + redis.call(command, key) end
  return sum
end

if size_of('XLEN', line, suspect, isolated) + size_of('ZCARD', backlogs, due, throttled_deadlines)
  + size_of('HLEN', organizations, policies) > most then return -1 end

for _, letter in ipairs({'q', 's', 'i'}) do count_stream(letter) end
count_sets(backlogs, backlog_prefix)
count_sets(due, delayed_prefix)
count_throttled()
for _, organization in ipairs(redis.call('HKEYS', policies)) do has_policy[organization] = true end

local flat, kept = redis.call('HGETALL', organizations), {}
for i = 1, #flat, 2 do kept[flat[i]] = tonumber(flat[i + 1]) or -1 end
for organization in pairs(counted) do kept[organization] = kept[organization] or 0 end
for organization, number in pairs(kept) do pcall(correct, organization, number) end
if corrected > 0 then redis.call('ZADD', wake, 0, 'job') end
return corrected
