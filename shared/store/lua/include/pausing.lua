-- Writes what operators settled for gates and the queue (gate_states.lua): with the gates, and with the marks of fail-overs, which
-- claims without gates read. Workers are notified: where commands are billed, they check only then.
-- INCLUDE now gate_states settled

-- The words that are settled, but for those that `dropped` matches.
local function settled_but(dropped)
  local words = {}
  for word in string.gmatch(redis.call('HGET', gates, SETTLED) or '', '%S+') do
    if not string.find(word, '^%d+$') and not dropped(word) then words[#words + 1] = word end
  end
  return words
end

local function write_settled(words)
  -- A write that cannot grow memory first, so that a pause works on a full server.
  redis.call('PERSIST', gates)
  for _, hash in ipairs({gates, failover}) do
    if words[1] then
      redis.call('HSET', hash, SETTLED, SETTLED_START .. ' ' .. table.concat(words, ' '))
    else
      redis.call('HDEL', hash, SETTLED)
    end
  end
  redis.call('PUBLISH', control_prefix .. 'tasks', SETTLED)
end

-- Has a gate polled now, by each worker that comes.
local function poll_gate(name)
  local state = gate(name)
  -- No job waits for one that nobody asked yet.
  if redis.call('HEXISTS', gates, name) == 0 then state.empty = 1 end
  state.poll_at, gates_changed[name] = now, true
  save_gates()
  redis.call('ZADD', wake_prefix .. name, -1, 'look', 0, 'job')
  redis.call('PEXPIRE', wake_prefix .. name, 3600000)
end
