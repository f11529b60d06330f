-- Removes an organisation that is deleted from the keys that all organisations share, one page of one stream a call.
-- Sums of the fleet stay. `last`: its settings, which keep its submits out, go too.
-- KEYS organizations policies rank_slots backlogs held_organizations due usage_organizations tenants ledger counts audit_trail refusal_trail gates placed_suspects
-- PREFIX settings failures cancellations throttled_by erased task
-- ARGV organization digest task index start page last chain
-- digest: of its id: known for an hour, so that no gateway brings back its refusals. task: counts the entries, or empty.
-- index: the stream: audit_trail, refusal_trail, failures or cancellations. start: of its entries, `-` at first.
-- RETURNS {entries removed, where the next page starts or empty}
-- INCLUDE ended_lines

local STREAMS = {audit_trail = audit_trail, refusal_trail = refusal_trail, failures = failures_prefix .. '*',
  cancellations = cancellations_prefix .. '*'}

-- Numbers in the state of a gate; the names of organisations follow, and another number (gate_states.lua).
local GATE_NUMBERS, GATE_WORDS = 17, 21
local ERASED_MS = 3600000

local removed = 0

local function forget_lines()
  for _, line in ipairs(redis.call('LRANGE', ledger, 0, -1)) do
    local status, day, whose = string.match(line, '^(%S+) (%d+) (%S+)')
    if whose == organization and day and redis.call('LREM', ledger, 1, line) == 1 then
      if ENDS[status] then redis.call('HINCRBY', counts, status, 1) end
      removed = removed + 1
    end
  end
end

local function forget_counts()
  for _, hash in ipairs({organizations, rank_slots, placed_suspects}) do removed = removed + redis.call('HDEL', hash, organization) end
  for _, set in ipairs({backlogs, held_organizations, due, usage_organizations}) do
    removed = removed + redis.call('ZREM', set, organization)
  end
  redis.call('ZREM', held_organizations, organization .. ' *')
  for gate in string.gmatch(chain .. ' *', '%S+') do
    removed = removed + redis.call('ZREM', throttled_by_prefix .. gate, organization)
  end
end

-- A gate keeps who used it last, who failed there and who owes it tokens.
local function forget_uses()
  local flat = redis.call('HGETALL', gates)
  for i = 1, #flat, 2 do
    local words, is_named = {}, false
    for word in string.gmatch(flat[i + 1], '%S+') do
      local is_its_name = #words >= GATE_NUMBERS and #words < GATE_WORDS and word == organization
      words[#words + 1] = is_its_name and '*' or word
      is_named = is_named or is_its_name
    end
    if is_named then redis.call('HSET', gates, flat[i], table.concat(words, ' ')) end
  end
end

local function whose_entry(fields)
  if fields[1] == 'o' then return fields[2] end
  return string.match(fields[2] or '', '^%S+ (%S+)')
end

-- Answers the id after which the next page starts, or empty.
local function forget_entries(stream)
  local found = redis.call('XRANGE', stream, start, '+', 'COUNT', page)
  for _, row in ipairs(found) do
    if whose_entry(row[2]) == organization then removed = removed + redis.call('XDEL', stream, row[1]) end
  end
  return #found == tonumber(page) and found[#found][1] or ''
end

-- A write that cannot grow memory.
redis.call('PERSIST', tenants)
forget_lines()
forget_counts()
forget_uses()
local after = forget_entries(STREAMS[index])
if last == '1' then
  redis.call('SET', erased_prefix .. digest, 1, 'PX', ERASED_MS)
  redis.call('HDEL', policies, organization)
  redis.call('DEL', settings_prefix .. organization)
  redis.call('SREM', tenants, organization)
end
if removed > 0 and task ~= '' then redis.call('HINCRBY', task_prefix .. task, 'entries', removed) end
return {removed, after ~= '' and '(' .. after or ''}
