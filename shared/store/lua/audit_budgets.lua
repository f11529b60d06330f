-- Counts what running jobs have reserved, by their records, and corrects the sums of all budgets; begins one whose sums are gone
-- with what is known of its usage. One call sees one moment: with more than `entries_max` entries it corrects nothing.
-- KEYS wake line suspect isolated requeued high normal low counts ledger organizations policies rank_slots
-- PREFIX job budget usage ended
-- ARGV entries_max usage_ttl
-- RETURNS budgets corrected, -1: there are too many entries
-- INCLUDE lease organizations budgets budget_holders budget_start ending saving_budgets budget_periods

local most, corrected = tonumber(entries_max), 0
-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)

local reserved_by = {}

-- Adds the reservation of a running job to the day and the month of its claim.
local function add_reservation(token, job)
  local f = redis.pcall('HMGET', job_prefix .. job, 'state', 'entry', 'org', 'reserved')
  local sums = f[1] == 'processing' and f[2] == token and reserved_by[f[3]]
  local amount, day = string.match(f[4] or '', '^(%d+) (%d+) %d+$')
  if not sums or not amount then return end
  for _, period in ipairs(periods_of(tonumber(day))) do
    sums[period.field] = (sums[period.field] or 0) + tonumber(amount)
  end
end

local function add_stream(letter)
  local entries = redis.call('XRANGE', streams[letter], '-', '+', 'COUNT', most + 1)
  for _, entry in ipairs(entries) do
    if reserved_by[entry[2][4]] then add_reservation(letter .. entry[1], entry[2][2]) end
  end
  return #entries
end

local function correct(organization)
  local sums, key = reserved_by[organization], budget_prefix .. organization
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' then
    redis.call('DEL', key)
    begin_budget(organization)
  end

  local is_right = kind == 'hash'
  local kept = redis.call('HGETALL', key)
  for i = 1, #kept, 2 do
    if string.find(kept[i], '^[dm]%d+$') then sums[kept[i]] = sums[kept[i]] or 0 end
  end
  for field, reserved in pairs(sums) do
    local before = amounts_of(organization, field)[2]
    if before ~= reserved then
      change_amounts(organization, field, 0, reserved - before)
      is_right = false
    end
  end
  if not is_right then corrected = corrected + 1 end
end

local holders = budget_holders()
for _, organization in ipairs(holders) do reserved_by[organization] = {} end
if #holders == 0 then return 0 end
if add_stream('q') + add_stream('s') + add_stream('i') > most then return -1 end

for _, organization in ipairs(holders) do pcall(correct, organization) end
count_ended()
save_counts()
save_budgets()
return corrected
