-- Counts the jobs of some organisations and corrects their kept counts; lets an organisation in whose backlog has no entry in
-- the line. A call sees one moment: of the entries that its caller knows it finds those that are left, and it reads those that came
-- since itself.
-- KEYS wake line suspect isolated requeued high normal low organizations policies rank_slots backlogs held_organizations ledger gates
-- PREFIX job backlog delayed budget throttled throttled_by
-- ARGV after_line after_suspect after_isolated checks_max running_max
-- ITEM organization in_line in_suspect in_isolated
-- after: the last entry of each stream that the caller knows. in: ids of those of the organisation, up to there.
-- RETURNS per organisation: 1: corrected or let in, 0: right, -1: there is more to check than one call may
-- INCLUDE batch counted_entries counting correcting suspect_line

local corrected = false
-- A write that cannot grow memory, outside of any pcall: a server that refuses writes refuses the whole call.
redis.call('PERSIST', wake)

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
