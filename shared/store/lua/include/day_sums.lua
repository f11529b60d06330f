-- Adds sums to an organisation's day (`usage`): a field for each project and model, with jobs, input, output and cached tokens,
-- nano-USD, jobs of unknown cost, estimated jobs.
-- Numbers are integers below 2^53, exact in Lua: 9 million USD a day in nano-USD. %.0f never writes an exponent.
-- PREFIX usage
-- ARGV usage_ttl
-- INCLUDE usage_index

-- Projects and models that a day of an organisation has fields for. Those that come after are summed up, by model, as the
-- project `other`: a caller that makes up names cannot make the hash grow.
local FIELDS_MAX = 1000
local PACKED = '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'

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
