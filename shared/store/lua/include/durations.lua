-- Adds up how long jobs waited and ran: of each hour in which they ended a string, `<w or r><bucket>=<jobs> ...`. Buckets grow
-- by the fourth root of two, from 1 ms to 40 days (`durations.py`).
-- PREFIX durations

-- Two days, and the hour that has just begun.
local DURATIONS_TTL, LAST_BUCKET = 49 * 3600000, 127
local PER_OCTAVE = 4 / math.log(2)

local function bucket_of(ms) return math.min(math.floor(PER_OCTAVE * math.log(tonumber(ms) + 1)), LAST_BUCKET) end

local function add_jobs(sums, bucket, more) sums[bucket] = (sums[bucket] or 0) + more end

-- sums: by kind, in each by bucket.
local function add_hour(hour, sums)
  local key, packed = durations_prefix .. hour, {}
  for kind, bucket, before in string.gmatch(redis.call('GET', key) or '', '([wr])(%d+)=(%d+)') do
    add_jobs(sums[kind], tonumber(bucket), tonumber(before))
  end
  for kind, buckets in pairs(sums) do
    for bucket, jobs in pairs(buckets) do packed[#packed + 1] = string.format('%s%d=%.0f', kind, bucket, jobs) end
  end
  redis.call('SET', key, table.concat(packed, ' '), 'PX', DURATIONS_TTL)
end

-- lines: of the ledger, `durations:<hour>:<waited>/<ran>,...` in ms.
local function add_durations(lines)
  local hours = {}
  for _, text in ipairs(lines) do
    local hour, first = string.match(text, ':(%d+):()')
    if hour then
      hours[hour] = hours[hour] or {w = {}, r = {}}
      for waited, ran in string.gmatch(string.sub(text, first), '(%d+)/(%d+)') do
        add_jobs(hours[hour].w, bucket_of(waited), 1)
        add_jobs(hours[hour].r, bucket_of(ran), 1)
      end
    end
  end
  for hour, sums in pairs(hours) do add_hour(hour, sums) end
end
