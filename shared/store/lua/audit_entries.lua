-- Requeues entries that were delivered and are pending with nobody, and deletes consumers that went away.
-- KEYS again suspect high normal low wake suspects
-- PREFIX job log
-- ARGV consumer_idle_ms
-- RETURNS {requeued, consumers deleted}
-- INCLUDE lease replacing

local requeued, deleted = 0, 0

local function put_again(letter, stream, entry)
  local id, job = entry[1], entry[2][2]
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'entry', 'losses')
  if (f[1] == 'queued' or f[1] == 'processing') and f[2] == letter .. id then
    replace_entry(job, f[3])
    requeued = requeued + 1
  end
  redis.call('XDEL', stream, id)
end

local function scan(letter, stream, group)
  local delivered
  for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then delivered = group[i + 1] end end
  local from = '-'
  while true do
    local page = redis.call('XRANGE', stream, from, delivered, 'COUNT', 256)
    for _, entry in ipairs(page) do
      if #redis.call('XPENDING', stream, GROUP, entry[1], entry[1], 1) == 0 then
        pcall(put_again, letter, stream, entry)
      end
    end
    if #page < 256 then return end
    from = '(' .. page[#page][1]
  end
end

for letter, stream in pairs(streams) do
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do scan(letter, stream, group) end
  for _, worker in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do
    local f = {}
    for i = 1, #worker, 2 do f[worker[i]] = worker[i + 1] end
    if f.pending == 0 and f.idle > tonumber(consumer_idle_ms) then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, f.name)
      if letter == 's' then redis.call('HDEL', suspects, f.name) end
      deleted = deleted + 1
    end
  end
end
if requeued > 0 then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
return {requeued, deleted}
