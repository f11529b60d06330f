-- Repeats claims whose reply was lost: entries delivered to this consumer within two leases whose tokens it does not know.
-- Older ones are left to recover.
-- INCLUDE meeting lease rows

local PENDING_PAGE = 500

local function answer_lost_claim()
  local known_tokens = {}
  for i = ITEM_FIRST, #ARGV do known_tokens[ARGV[i]] = true end
  for letter, stream in pairs(streams) do
    local from = '-'
    while from do
      local page = redis.call('XPENDING', stream, GROUP, from, '+', PENDING_PAGE, consumer)
      for _, row in ipairs(page) do
        local unknown = not known_tokens[letter .. row[1]] and tonumber(row[3]) < 2 * tonumber(lease_ms)
        local entry = unknown and redis.call('XRANGE', stream, row[1], row[1])[1]
        if entry then take(letter, {entry}, false, true) end
      end
      from = #page == PENDING_PAGE and '(' .. page[PENDING_PAGE][1] or nil
    end
  end
  return #claims
end
