-- Adds to the failed calls of these ten minutes, by gate, type of error and the job's chain, and to the chains that jobs
-- brought. A string for each ten minutes: `<calls> <gate> <error> <its gates, joined by commas>` and a line feed for each.
-- KEYS gates
-- PREFIX recent_calls
-- ITEM gate failure route calls
-- gate, failure: `-` for a chain of which no call is known to have failed, calls is 0 then. route: `-`: unknown.
-- RETURNS 1 for each item, or 0: there was no room for another line
-- INCLUDE batch clock

local STRETCH_MS, KEPT_MS = 600000, 88200000
-- Of one string. Chains are callers' to choose: however many there are, failed calls are counted, without a chain at last.
local NOTES_BYTES, CHAINS_BYTES, BYTES_MAX = 8192, 16384, 32768
local NUMBER_BYTES = 12

local found, order, bytes = {}, {}, 0

local function add_line(line, calls, bytes_max)
  if not found[line] then
    if bytes + #line + NUMBER_BYTES > bytes_max then return false end
    bytes = bytes + #line + NUMBER_BYTES
    order[#order + 1], found[line] = line, 0
  end
  found[line] = found[line] + calls
  return true
end

-- A write that cannot grow memory first.
redis.call('PERSIST', gates)
local key = recent_calls_prefix .. string.format('%d', math.floor(now_ms() / STRETCH_MS))
local text = redis.pcall('GET', key)
for calls, line in string.gmatch(type(text) == 'string' and text or '', '(%d+) ([^\n]+)') do
  add_line(line, tonumber(calls), BYTES_MAX)
end

local replies = each_item(function(name, failure, route, calls)
  local cause = name .. ' ' .. failure .. ' '
  local bytes_max = calls == '0' and NOTES_BYTES or CHAINS_BYTES
  if add_line(cause .. route, tonumber(calls), bytes_max) then return 1 end
  return calls ~= '0' and add_line(cause .. '-', tonumber(calls), BYTES_MAX) and 1 or 0
end)

local lines = {}
for i, line in ipairs(order) do lines[i] = string.format('%.0f %s', found[line], line) end
redis.call('SET', key, table.concat(lines, '\n'), 'PX', KEPT_MS)
return replies
