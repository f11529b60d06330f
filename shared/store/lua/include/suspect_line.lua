-- The line of suspects, the stream `suspect`: an organisation has at most as many entries there as its weight
-- (`placed_suspects`), its other suspects wait in `suspect_backlog:<org>` by place; their entry is `bs`.
-- KEYS suspect placed_suspects deadlines
-- PREFIX suspect_backlog
-- INCLUDE lease policies

local function count_placed(organization, more)
  local placed = redis.call('HINCRBY', placed_suspects, organization, more)
  if placed <= 0 then redis.call('HDEL', placed_suspects, organization) end
  return placed
end

-- Makes a suspect claimable. Returns its new entry.
local function enter_suspect(organization, job, place, deadline)
  local most = weight_of(organization)
  if count_placed(organization, 1) <= most then return add_entry('s', job, organization) end
  count_placed(organization, -1)
  redis.call('ZADD', suspect_backlog_prefix .. organization, place, job)
  redis.call('ZADD', deadlines, string.format('%.0f', deadline), job)
  return 'bs'
end

-- Moves an organisation's next suspect to the line. An error leaves it in its backlog. Returns whether there was one.
local function place_suspect(organization)
  local backlog = suspect_backlog_prefix .. organization
  while true do
    local job = redis.call('ZRANGE', backlog, 0, 0)[1]
    if not job then return false end
    local f = redis.pcall('HMGET', job_prefix .. job, 'state', 'entry')
    local waits = f[1] == 'queued' and f[2] == 'bs'
    if waits then redis.call('HSET', job_prefix .. job, 'entry', add_entry('s', job, organization)) end
    redis.call('ZREM', backlog, job)
    -- A worker of an older release ended the others, and did not know this place.
    if waits then return true end
  end
end

-- Lets the next one in after an entry left the line.
local function follow_suspect(organization)
  if not place_suspect(organization) then count_placed(organization, -1) end
end

-- Corrects the count of an organisation's entries; lets in those for which there is room. Returns whether anything was wrong.
local function correct_suspects(organization, placed)
  local was_wrong = (tonumber(redis.call('HGET', placed_suspects, organization) or 0) or 0) ~= placed
  if was_wrong then redis.call('HSET', placed_suspects, organization, placed) end
  while placed < weight_of(organization) and place_suspect(organization) do
    placed, was_wrong = count_placed(organization, 1), true
  end
  if placed == 0 then redis.call('HDEL', placed_suspects, organization) end
  return was_wrong
end
