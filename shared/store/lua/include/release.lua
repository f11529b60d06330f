-- What this release knows of records. One that a newer release wrote, or in a state that has no name here, is left to
-- workers that know it: nothing here runs it, changes it or deletes its entry.

local VERSION = 1
local LIVE = {queued = true, processing = true}
local OVER = {completed = true, failed = true, cancelled = true}

-- v, state: of the record; a record without a state is none.
local function foreign(v, state)
  if not state then return false end
  return (tonumber(v or VERSION) or math.huge) > VERSION or not (LIVE[state] or OVER[state])
end
