-- Counts the jobs of one organisation in one call: its packed number, less the ends that are in the ledger yet (I3).
-- KEYS organizations ledger
-- PREFIX ended delayed
-- ARGV organization
-- RETURNS {queued, processing, completed, failed, cancelled, delayed, KiB of prompts that wait}
-- INCLUDE organizations ended_lines

local state = unpack_counts(tonumber(redis.call('HGET', organizations, organization) or 0) or 0)
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
return {state.waiting, math.max(state.running, 0), ends.completed, ends.failed, ends.cancelled,
  redis.call('ZCARD', delayed_prefix .. organization), state.kib}
