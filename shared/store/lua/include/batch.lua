-- Runs one function per item; an item that fails returns {'ERROR', message} and does not stop the others.

-- Errors that refuse every write: nothing was written, and nothing will be.
local REFUSED = {READONLY = true, NOREPLICAS = true, MISCONF = true}

local function each_item(run)
  local replies = {}
  for first = ITEM_FIRST, #ARGV, ITEM_WIDTH do
    local ok, reply = pcall(run, unpack(ARGV, first, first + ITEM_WIDTH - 1))
    if not ok then
      local message = type(reply) == 'table' and (reply.err or '') or tostring(reply)
      -- A write outside of a pcall: the server refuses the whole call with its own error, and the caller repeats it or the
      -- connection finds the new master.
      if REFUSED[string.match(message, '^%-?(%u+)')] then redis.call('PERSIST', KEYS[1]) end
      reply = {'ERROR', message}
    end
    replies[#replies + 1] = reply
  end
  return replies
end
