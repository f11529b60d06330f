-- Tries harmless forms of commands, and finds those that this user may not run or this server does not have.
-- KEYS wake
-- ARGV calls
-- RETURNS index (from 0) and error of each call that was refused, one after the other
-- `calls`: a JSON array of commands with their arguments. None of them changes anything.

local refused = {}
for i, call in ipairs(cjson.decode(calls)) do
  local reply = redis.pcall(unpack(call))
  if type(reply) == 'table' and reply.err then
    refused[#refused + 1], refused[#refused + 2] = i - 1, reply.err
  end
end
return refused
