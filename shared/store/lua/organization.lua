-- Counts the jobs of one organisation in one call: its packed number, less the ends that are in the ledger yet (I3).
-- KEYS organizations ledger policies
-- PREFIX ended delayed budget
-- ARGV organization
-- RETURNS {queued, processing, completed, failed, cancelled, delayed, KiB of prompts that wait, nano-USD spent
--   this month, today, reserved, {project, the same three of its budget}...}; the three are 0 without a budget
-- INCLUDE organizations ended_lines budgets budget_periods policies

local state = unpack_counts(tonumber(redis.call('HGET', organizations, organization) or 0) or 0)
-- Known now: its policy is read without the write that counts it.
known[organization] = state
local folded = redis.pcall('GET', ended_prefix .. organization)
local completed, failed, cancelled = string.match(type(folded) == 'string' and folded or '', '^(%d+) (%d+) (%d+)$')
local ends = {completed = tonumber(completed) or 0, failed = tonumber(failed) or 0, cancelled = tonumber(cancelled) or 0}
for _, line_text in ipairs(redis.pcall('LRANGE', ledger, 0, -1)) do
  local status, whose = counted_end(line_text)
  if whose == organization then
    ends[status] = ends[status] + 1
    state.running = state.running - 1
  end
end

-- Reservations of the month before are of the last jobs that it started.
local function spent_and_reserved(whose, project)
  local month = amounts_of(whose, named_for(periods_now()[1].field, project))
  local day = amounts_of(whose, named_for(periods_now()[2].field, project))
  return string.format('%.0f', month[1]), string.format('%.0f', day[1]), string.format('%.0f', month[2])
end

local reply = {state.waiting, math.max(state.running, 0), ends.completed, ends.failed, ends.cancelled,
  redis.call('ZCARD', delayed_prefix .. organization), state.kib, spent_and_reserved(organization)}
for word in pairs(policy_of(organization)) do
  local project = string.match(word, '^number@(.+)$')
  if project and has_budget(organization, project) then
    reply[#reply + 1] = {project, spent_and_reserved(organization, project)}
  end
end
return reply
