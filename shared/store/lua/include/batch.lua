-- Runs one function per item; an item that fails answers {'ERROR', message} and does not stop the others.

local function each_item(run)
  local replies = {}
  for first = ITEM_FIRST, #ARGV, ITEM_WIDTH do
    local ok, reply = pcall(run, unpack(ARGV, first, first + ITEM_WIDTH - 1))
    if not ok then
      local message = type(reply) == 'table' and (reply.err or '') or tostring(reply)
      -- No master any more, so nothing was written: refused outside of a pcall the whole call fails, in the server's
      -- words, and its connection looks for the new master.
      if string.sub(message, 1, 8) == 'READONLY' then redis.call('PERSIST', KEYS[1]) end
      reply = {'ERROR', message}
    end
    replies[#replies + 1] = reply
  end
  return replies
end
