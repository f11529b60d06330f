-- Counts jobs that ended, and what they used: a line for each in one list (`ledger`), all lines of a call in one command.
-- A list that grew long is summed up: into `counts`, and into a hash per organisation and day (`usage`). So a job costs
-- about one command, and a day of an organisation a few fields.
-- Numbers are integers below 2^53, exact in Lua: 9 million USD a day in nano-USD. %.0f never writes an exponent.
-- INCLUDE ending

local FOLD_AT = 256
-- Projects and models that a day of an organisation tells apart. Those that come after are summed up, by model, as the
-- project `other`: nobody's sums grow with the names that a caller thinks up.
local FIELDS_MAX = 1000
local LINE = '^%S+ (%d+) (%S+) (%S+ %S+) (%d+) (%d+) (%d+) (%S+) ([01])$'
local PACKED = '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'

local ENDS = {completed = true, failed = true, cancelled = true}

local booked, booked_as = {}, {}

-- Once for every end, after the record says so; status '-': it was counted before. line: `<organization> <project>
-- <provider:model> <input> <output> <cached> <nano-USD or -> <estimated 0|1>`; empty: nothing was used.
local function book(status, ended_ms, line)
  if line == '' then return count(status) end
  local day = string.format('%d', math.floor(tonumber(ended_ms) / 86400000))
  booked[#booked + 1] = status .. ' ' .. day .. ' ' .. line
  booked_as[#booked_as + 1] = status
end

-- Sums of lines by organisation and day, in each by project and model in the order of PACKED; and ends by status. What is
-- no line of usage adds nothing to the sums.
local function sum_lines(lines)
  local days, statuses = {}, {}
  for _, line in ipairs(lines) do
    local status = string.match(line, '^%S+') or '-'
    statuses[status] = (statuses[status] or 0) + 1
    local day, organization, field, input, output, cached, cost, estimated = string.match(line, LINE)
    if day then
      local key = organization .. ':' .. day
      days[key] = days[key] or {}
      local total, known = days[key][field] or {0, 0, 0, 0, 0, 0, 0}, tonumber(cost)
      for i, more in ipairs({1, input, output, cached, known or 0, known and 0 or 1, estimated}) do
        total[i] = total[i] + tonumber(more)
      end
      days[key][field] = total
    end
  end
  return days, statuses
end

local function sum_up(sums, fields, first)
  for i = first, #fields do
    local other, held = 'other' .. string.match(fields[i], ' .*$'), sums[fields[i]]
    sums[fields[i]] = nil
    local total = sums[other] or {0, 0, 0, 0, 0, 0, 0}
    for j = 1, 7 do total[j] = total[j] + held[j] end
    sums[other] = total
  end
end

local function add_to_day(key, sums, bounded)
  local hash, fields, packed, new = usage_prefix .. key, {}, {}, {}
  for field in pairs(sums) do fields[#fields + 1] = field end
  local befores = redis.call('HMGET', hash, unpack(fields))
  for i, before in ipairs(befores) do if not before then new[#new + 1] = fields[i] end end
  local room = FIELDS_MAX - (#new > 0 and not bounded and redis.call('HLEN', hash) or 0)
  if #new > room then
    sum_up(sums, new, math.max(room, 0) + 1)
    return add_to_day(key, sums, true)
  end
  for i, before in ipairs(befores) do
    local total = sums[fields[i]]
    for j, value in ipairs({string.match(before or '', PACKED)}) do total[j] = total[j] + tonumber(value) end
    packed[2 * i - 1], packed[2 * i] = fields[i], string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f', unpack(total))
  end
  -- A field that is new may be the first of its hash.
  if redis.call('HSET', hash, unpack(packed)) > 0 then redis.call('PEXPIRE', hash, usage_ttl) end
end

-- Out of the list first: damage in one organisation's hash loses that sum, and is not met again at every end. How many
-- jobs were lost to the sums is counted beside those that ended, as `unbooked`.
local function fold()
  local lines = redis.call('LRANGE', ledger, 0, FOLD_AT - 1)
  redis.call('LTRIM', ledger, #lines, -1)
  local days, statuses = sum_lines(lines)
  for status, ended in pairs(statuses) do
    if ENDS[status] then tally[status] = (tally[status] or 0) + ended end
  end
  for key, sums in pairs(days) do
    local jobs = 0
    for _, total in pairs(sums) do jobs = jobs + total[1] end
    if not pcall(add_to_day, key, sums) then tally.unbooked = (tally.unbooked or 0) + jobs end
  end
end

-- The last thing a call does. A ledger that cannot be written keeps no job from its end, nor from being counted.
local function close_books()
  if #booked > 0 then
    local ok, length = pcall(redis.call, 'RPUSH', ledger, unpack(booked))
    if not ok then
      for _, status in ipairs(booked_as) do
        if ENDS[status] then count(status) end
        count('unbooked')
      end
    elseif length >= FOLD_AT then
      fold()
    end
  end
  count_ended()
end
