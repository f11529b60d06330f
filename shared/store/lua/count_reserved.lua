-- Adds up what jobs of one organisation have reserved in its budget, a page of them.
-- KEYS policies
-- PREFIX job
-- ARGV organization
-- ITEM token job
-- RETURNS {day or month as in `budget`, nano-USD}...
-- INCLUDE budget_periods

local sums, fields = {}, {}
for i = ITEM_FIRST, #ARGV, ITEM_WIDTH do
  local f = redis.pcall('HMGET', job_prefix .. ARGV[i + 1], 'state', 'entry', 'org', 'reserved')
  local runs = f[1] == 'processing' and f[2] == ARGV[i] and f[3] == organization
  local amount, day = string.match(runs and f[4] or '', '^(%d+) (%d+) %d+')
  local project = string.match(amount and f[4] or '', '^%d+ %d+ %d+ (%S+)$')
  -- In the day and the month of its claim.
  for _, period in ipairs(amount and periods_of(tonumber(day)) or {}) do
    for _, field in ipairs({period.field, project and period.field .. '@' .. project or nil}) do
      if not sums[field] then fields[#fields + 1] = field end
      sums[field] = (sums[field] or 0) + tonumber(amount)
    end
  end
end

local reply = {}
for _, field in ipairs(fields) do
  reply[#reply + 1], reply[#reply + 2] = field, string.format('%.0f', sums[field])
end
return reply
