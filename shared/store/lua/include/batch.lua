-- Runs one function per item; an item that fails answers {'ERROR', message} and does not stop the others.

local function each_item(run)
  local replies = {}
  for first = ITEM_FIRST, #ARGV, ITEM_WIDTH do
    local ok, reply = pcall(run, unpack(ARGV, first, first + ITEM_WIDTH - 1))
    if not ok then
      reply = {'ERROR', type(reply) == 'table' and (reply.err or '') or tostring(reply)}
    end
    replies[#replies + 1] = reply
  end
  return replies
end
