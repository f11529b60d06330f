-- Finds leases that began before the last fail-over or restart (`failover.lua`): their last transitions may be lost.

local marks

local function number_pair(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function read_marks()
  if marks then return marks end
  marks = {}
  local flat = redis.call('HGETALL', failover)
  for i = 1, #flat, 2 do marks[flat[i]] = flat[i + 1] end
  return marks
end

-- By the letter of a stream: its mark as two numbers, or false.
local parsed_marks = {}

local function mark_of(letter)
  if parsed_marks[letter] == nil then
    local mark = read_marks()[letter]
    parsed_marks[letter] = mark ~= nil and {number_pair(mark)}
  end
  return parsed_marks[letter]
end

local function predates(token)
  if fenced ~= '1' then return false end
  local mark = mark_of(string.sub(token, 1, 1))
  if not mark then return false end
  local ms, seq = number_pair(string.sub(token, 2))
  if not ms then return false end
  return ms < mark[1] or ms == mark[1] and seq <= mark[2]
end
