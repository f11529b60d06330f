-- Finds the lines of the ledger (ledger.lua) whose jobs have ended and are still counted as running. Lines of this release
-- have a zero before the input tokens, or end with the organisation if nothing was used; jobs of an older release were not
-- counted.

-- Lines of which the ledger is summed up. A job that ends alone leaves two: its end, and how long it waited and ran.
local FOLD_AT = 512
local ENDS = {completed = true, failed = true, cancelled = true}
local ended_unfolded

-- Returns status and organisation of an end whose job is counted as running, else nil.
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

-- Lines are read again after one was added.
local function forget_ended() ended_unfolded = nil end
