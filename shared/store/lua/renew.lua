-- Renews the leases a consumer still holds, in one XCLAIM per stream. An entry that was requeued is gone from the
-- pending list, so its token simply isn't answered; no lease is ever taken back.
-- KEYS again suspect high normal low cancels
-- ARGV consumer
-- ITEM token job
-- RETURNS {now, {lost token...}, {job whose cancel was requested...}}
-- INCLUDE lease clock

local ids, jobs, held = {}, {}, {}
for i = ITEM_FIRST, #ARGV, ITEM_WIDTH do
  local letter = string.sub(ARGV[i], 1, 1)
  ids[letter] = ids[letter] or {}
  table.insert(ids[letter], string.sub(ARGV[i], 2))
  jobs[#jobs + 1] = ARGV[i + 1]
end
for letter, list in pairs(ids) do
  table.insert(list, 'JUSTID')
  for _, id in ipairs(redis.call('XCLAIM', streams[letter], GROUP, consumer, 0, unpack(list))) do
    held[letter .. id] = true
  end
end

local lost, cancelled = {}, {}
for i = ITEM_FIRST, #ARGV, ITEM_WIDTH do
  if not held[ARGV[i]] then lost[#lost + 1] = ARGV[i] end
end
if #jobs > 0 then
  for i, requested in ipairs(redis.call('ZMSCORE', cancels, unpack(jobs))) do
    if requested then cancelled[#cancelled + 1] = jobs[i] end
  end
end
return {string.format('%d', now_ms()), lost, cancelled}
