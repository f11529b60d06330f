-- Finds records of other releases. One that a newer release wrote, or in a state that this release does not know, is left
-- to workers of that release: no script of this one runs it, changes it or deletes its entry.

local VERSION = 1
local LIVE = {queued = true, processing = true}
local OVER = {completed = true, failed = true, cancelled = true}

-- v, state: fields of the record; a record without a state does not exist.
local function foreign(v, state)
  if not state then return false end
  return (tonumber(v or VERSION) or math.huge) > VERSION or not (LIVE[state] or OVER[state])
end
