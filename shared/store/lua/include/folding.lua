-- Sums up the lines of the ledger, at FOLD_AT of them: in `counts`, in a hash per organisation and day (`usage`), and in each
-- organisation's ended jobs (`ended`). Integers below 2^53 are exact in Lua: 9 million USD a day. %.0f writes no exponent.
-- INCLUDE ending ended_lines organizations usage_index

local FOLD_AT = 256
-- Projects and models that a day of an organisation has fields for. Those that come after are summed up, by model, as the
-- project `other`: a caller that makes up names cannot make the hash grow.
local FIELDS_MAX = 1000
local LINE = '^%S+ (%d+) (%S+) (%S+ %S+) (%d+) (%d+) (%d+) (%S+) ([01])$'
local PACKED = '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'

-- Sums of lines by organisation and day, in each by project and model in the order of PACKED; and ends by status. A line
-- without usage adds nothing to the sums.
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
  -- A new field may be the first one, of a hash without a TTL.
  if redis.call('HSET', hash, unpack(packed)) == 0 then return end
  redis.call('PEXPIRE', hash, usage_ttl)
  index_usage(string.match(key, '^(.*):(%d+)$'))
end

-- Adds to the ended jobs of each organisation, by outcome: `completed failed cancelled`, kept as long as its sums.
local function count_by_organization(ends)
  local keys, whose = {}, {}
  for organization in pairs(ends) do keys[#keys + 1], whose[#whose + 1] = ended_prefix .. organization, organization end
  if #keys == 0 then return end
  local befores = redis.call('MGET', unpack(keys))
  for i, before in ipairs(befores) do
    local completed, failed, cancelled = string.match(before or '', '^(%d+) (%d+) (%d+)$')
    local more = ends[whose[i]]
    redis.call('SET', keys[i], string.format('%.0f %.0f %.0f', (tonumber(completed) or 0) + (more.completed or 0),
      (tonumber(failed) or 0) + (more.failed or 0), (tonumber(cancelled) or 0) + (more.cancelled or 0)), 'PX', usage_ttl)
  end
end

-- Takes the ends off the jobs that are counted as running.
local function take_off(lines)
  local ends = {}
  for _, line_text in ipairs(lines) do
    local status, organization = counted_end(line_text)
    if status then
      note(organization, 'running', -1)
      ends[organization] = ends[organization] or {}
      ends[organization][status] = (ends[organization][status] or 0) + 1
    end
  end
  pcall(count_by_organization, ends)
end

-- The lines leave the list first: so damage in one organisation's hash loses that sum once, and does not fail every later
-- call. Jobs that are missing in the sums are counted as `unbooked`. Returns the lines, and whether there may be more.
-- length: of a ledger that may be too short.
local function fold(length)
  local lines = (length or FOLD_AT) < FOLD_AT and {} or redis.call('LRANGE', ledger, 0, FOLD_AT - 1)
  if #lines == 0 then return lines end
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
  take_off(lines)
  return lines, #lines == FOLD_AT
end
