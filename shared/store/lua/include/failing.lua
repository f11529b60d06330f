-- Answers of calls that fail after some of their steps: the caller gets the error, and what was done is booked nevertheless.

-- The answer that makes the server report an error which pcall caught.
local function error_of(failure)
  local message = type(failure) == 'table' and failure.err or tostring(failure)
  return {err = string.match(message, '^%u+ ') and message or 'ERR ' .. message}
end
