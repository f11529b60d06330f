-- Renews the leases a consumer still holds, in few XCLAIMs per stream. An entry that was requeued is gone from the
-- pending list, so its token is missing in the reply; no lease is ever taken back. Without items it checks the server:
-- whether it takes writes, and its time, alone.
-- KEYS line suspect isolated requeued high normal low wake cancels workers
-- ARGV consumer
-- ITEM token job
-- RETURNS {now, {lost token...}, {job whose cancel was requested...}, whether it is to drain, whether it is registered}
-- INCLUDE clock lease

local PAGE = 500
local ids, jobs, held = {}, {}, {}
for i = ITEM_FIRST, #ARGV, ITEM_WIDTH do
  local letter = string.sub(ARGV[i], 1, 1)
  ids[letter] = ids[letter] or {}
  table.insert(ids[letter], string.sub(ARGV[i], 2))
  jobs[#jobs + 1] = ARGV[i + 1]
end
if #jobs == 0 then redis.call('PERSIST', wake) end
for letter, list in pairs(ids) do
  for first = 1, #list, PAGE do
    local command = {'XCLAIM', streams[letter], GROUP, consumer, 0, unpack(list, first, math.min(first + PAGE - 1, #list))}
    command[#command + 1] = 'JUSTID'
    for _, id in ipairs(redis.call(unpack(command))) do held[letter .. id] = true end
  end
end

local lost, cancelled = {}, {}
for i = ITEM_FIRST, #ARGV, ITEM_WIDTH do
  if not held[ARGV[i]] then lost[#lost + 1] = ARGV[i] end
end
for first = 1, #jobs, PAGE do
  local asked = {unpack(jobs, first, math.min(first + PAGE - 1, #jobs))}
  for i, requested in ipairs(redis.call('ZMSCORE', cancels, unpack(asked))) do
    if requested then cancelled[#cancelled + 1] = asked[i] end
  end
end
local entry, order
if #jobs > 0 then entry, order = unpack(redis.call('HMGET', workers, consumer, '!' .. consumer)) end
return {string.format('%d', now_ms()), lost, cancelled, order and 1 or 0, (entry or #jobs == 0) and 1 or 0}
