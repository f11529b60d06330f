-- Counts the jobs of some organisations and corrects their kept counts; lets an organisation in whose backlog has no entry in
-- the line. A call sees one moment: of the entries that its caller knows it looks which are left, and it reads those that came
-- since itself.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger gates
-- PREFIX job backlog delayed budget throttled throttled_by
-- ARGV after_line after_suspect after_isolated looks_max running_max
-- ITEM organization in_line in_suspect in_isolated
-- after: the last entry of each stream that the caller knows. in: ids of those of the organisation, up to there.
-- RETURNS per organisation: 1: corrected or let in, 0: right, -1: there is more to look at than one call may
-- INCLUDE batch organizations backlog counted_entries counting suspect_line

local corrected = false
-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)

-- The packed number by what was counted, but for KiB and ranks, which are kept only.
local function number_of(right)
  local number = 0
  for field, value in pairs(right) do number = number + value * UNITS[field] end
  return number
end

local function is_right(organization, right)
  local kept = redis.call('HGET', organizations, organization)
  kept = kept and (tonumber(kept) or -1) or 0
  local kib, ranked = kept % RANGES.kib, math.floor(kept / UNITS.ranked) % 2
  if right.waiting > right.placed and right.placed == 0 then return false end
  return kept == number_of(right) + kib + ranked * UNITS.ranked and (right.waiting > 0 or kib == 0)
end

-- Returns whether anything was wrong: one that is held may have no entry.
local function correct(organization, right)
  local state, was_wrong = save(organization), false
  if right.waiting == 0 then right.kib = 0 end
  for field, value in pairs(right) do
    if state[field] ~= value then
      note(organization, field, value - state[field])
      was_wrong = true
    end
  end
  if refill(organization) then was_wrong = true end
  save(organization)
  return was_wrong
end

local few_came = read_arrivals({q = after_line, s = after_suspect, i = after_isolated})
local replies = each_item(function(organization, in_line, in_suspect, in_isolated)
  local right = few_came and count_jobs(organization, {q = in_line, s = in_suspect, i = in_isolated})
  if not right then return -1 end
  local suspects_placed = right.suspects
  right.suspects = nil
  -- What was counted wrong is forgotten when nothing waits.
  if right.waiting == 0 then redis.call('DEL', waiting_chains_prefix .. organization) end
  local was_wrong = correct_suspects(organization, suspects_placed)
  if not is_right(organization, right) then was_wrong = correct(organization, right) or was_wrong end
  if not was_wrong then return 0 end
  corrected = true
  return 1
end)
if corrected then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
return replies
