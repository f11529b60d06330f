-- Decides which of a lost worker's jobs are to blame: its suspects when it held any, else all. `suspects` has the workers
-- that died with suspects, as their other jobs may be found by a later call.
-- INCLUDE lease now stale_entries

local SUSPECT_QUEUES = {'i', 's'}
local held_suspects = {}

local function died_with_suspects(owner)
  local noted = redis.pcall('HGET', suspects, owner)
  if type(noted) == 'string' then return true end
  for _, letter in ipairs(SUSPECT_QUEUES) do
    if occupied[letter] and #redis.call('XPENDING', streams[letter], GROUP, '-', '+', 1, owner) > 0 then
      redis.pcall('HSET', suspects, owner, string.format('%d', now))
      return true
    end
  end
  return false
end

local function is_to_blame(letter, owner)
  if held_suspects[owner] == nil then held_suspects[owner] = died_with_suspects(owner) end
  return is_suspect(letter) or not held_suspects[owner]
end

-- How many isolated jobs wait.
local function isolated_waiting()
  if not occupied.i then return 0 end
  return redis.call('XLEN', isolated) - redis.call('XPENDING', isolated, GROUP)[1]
end
