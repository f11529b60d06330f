-- Corrects the reservations of one budget by those of running jobs that were counted over several calls, unless it changed
-- meanwhile; a difference is corrected that was found twice. Begins a budget whose sums are gone with what is known of its usage.
-- KEYS wake counts ledger organizations policies rank_slots
-- PREFIX budget usage ended
-- ARGV organization token confirmed reserved usage_ttl
-- token: answered by the call before the first count; empty: this is that call. confirmed: the difference that was found before.
-- reserved: `<day or month> <nano-USD>...`, separated by spaces.
-- RETURNS {1: corrected, 0: right, 2: wrong, -1: it changed; token, difference}
-- INCLUDE organizations budgets budget_start ending saving_budgets policies

-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)
local key = budget_prefix .. organization
local is_there = redis.call('TYPE', key).ok == 'hash'
local kept = is_there and redis.call('HGETALL', key) or {}
local token_now = is_there and table.concat(kept, ' ') or 'gone'
if not has_budget(organization) then return {0, token_now, ''} end
if token ~= token_now then return {-1, token_now, ''} end

local sums = {}
for i = 1, #kept, 2 do
  if string.find(kept[i], '^[dm]%d+') then sums[kept[i]] = 0 end
end
for field, amount in string.gmatch(reserved, '(%S+) (%d+)') do sums[field] = tonumber(amount) end

local differences = {}
for field, right in pairs(sums) do
  local before = is_there and amounts_of(organization, field)[2] or 0
  if before ~= right then differences[#differences + 1] = string.format('%s %.0f', field, right - before) end
end
table.sort(differences)
if is_there and #differences == 0 then return {0, token_now, ''} end
local difference = (is_there and '' or 'gone ') .. table.concat(differences, ' ')
if difference ~= confirmed then return {2, token_now, difference} end

if not is_there then
  redis.call('DEL', key)
  begin_budget(organization)
end
for field, right in pairs(sums) do
  local before = amounts_of(organization, field)[2]
  change_amounts(organization, field, 0, right - before)
end
count_ended()
save_counts()
save_budgets()
return {1, token_now, ''}
