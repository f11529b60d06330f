-- What an organisation used: a line for every job that ended, in a list per day (`ledger`). A list that grew long is
-- summed up into a hash per day (`usage`), so that a job costs about one command and a day a few fields.
-- Numbers are integers below 2^53, exact in Lua: 9 million USD a day in nano-USD. %.0f never writes an exponent.

local FOLD_AT = 256
local LINE = '^(%S+ %S+) (%d+) (%d+) (%d+) (%S+) ([01])$'
local PACKED = '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'

-- Sums by field of the oldest FOLD_AT lines, each in the order of PACKED; a line that is none counts as nothing.
local function sum_lines(list)
  local sums, fields = {}, {}
  for _, line in ipairs(redis.call('LRANGE', list, 0, FOLD_AT - 1)) do
    local field, input, output, cached, cost, estimated = string.match(line, LINE)
    if field then
      if not sums[field] then
        sums[field], fields[#fields + 1] = {0, 0, 0, 0, 0, 0, 0}, field
      end
      local known = tonumber(cost)
      for i, more in ipairs({1, input, output, cached, known or 0, known and 0 or 1, estimated}) do
        sums[field][i] = sums[field][i] + tonumber(more)
      end
    end
  end
  return sums, fields
end

-- HLEN first: a hash that is none must not cost a long read at every end.
local function fold(list, hash)
  local is_new = redis.call('HLEN', hash) == 0
  local sums, fields = sum_lines(list)
  if #fields > 0 then
    local packed = {}
    for i, before in ipairs(redis.call('HMGET', hash, unpack(fields))) do
      local total = sums[fields[i]]
      for j, value in ipairs({string.match(before or '', PACKED)}) do total[j] = total[j] + tonumber(value) end
      packed[2 * i - 1], packed[2 * i] = fields[i], string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f', unpack(total))
    end
    redis.call('HSET', hash, unpack(packed))
    if is_new then redis.call('PEXPIRE', hash, usage_ttl) end
  end
  redis.call('LTRIM', list, FOLD_AT, -1)
end

-- Once for every end, after the record says so. line: `<project> <provider:model> <input> <output> <cached>
-- <nano-USD or -> <estimated 0|1>`; empty: nothing was used. A ledger that cannot be written keeps no job from its end.
local function record_usage(organization, ended_ms, line)
  if line == '' then return end
  pcall(function()
    local day = organization .. ':' .. string.format('%d', math.floor(tonumber(ended_ms) / 86400000))
    local list = ledger_prefix .. day
    local length = redis.call('RPUSH', list, line)
    if length == 1 then redis.call('PEXPIRE', list, usage_ttl) end
    if length >= FOLD_AT then fold(list, usage_prefix .. day) end
  end)
end
