-- Lines of the ledger (ledger.lua): which of them are ends of jobs that are still counted as running.
-- A line of this release has a zero before its input tokens, or ends with the organisation where nothing was used: those of
-- the commit before are of jobs that nobody counted.

local ENDS = {completed = true, failed = true, cancelled = true}
local ended_unfolded

-- Status and organisation of an end that takes a running job off its organisation's count.
local function counted_end(line)
  local status, organization, rest = string.match(line, '^(%a+) %d+ (%S+)(.*)$')
  if not ENDS[status] or rest ~= '' and not string.find(rest, '^ %S+ %S+ 0%d') then return nil end
  return status, organization
end

local function ended_in_ledger(organization)
  if not ended_unfolded then
    ended_unfolded = {}
    local lines = redis.pcall('LRANGE', ledger, 0, -1)
    for _, line in ipairs(lines.err and {} or lines) do
      local _, whose = counted_end(line)
      if whose then ended_unfolded[whose] = (ended_unfolded[whose] or 0) + 1 end
    end
  end
  return ended_unfolded[organization] or 0
end

-- After a line was added.
local function forget_ended() ended_unfolded = nil end
