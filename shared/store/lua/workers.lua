-- Reads the workers that registered, and the consumers that claims know.
-- KEYS line suspect isolated requeued high normal low workers
-- RETURNS {now, {field, value, ...} of the registry, {consumer, jobs it holds, idle ms, ...}}; a consumer once for each stream
-- INCLUDE clock lease

local consumers = {}
for _, stream in pairs(streams) do
  -- A stream that is not there yet has no consumers.
  local found = redis.pcall('XINFO', 'CONSUMERS', stream, GROUP)
  for _, worker in ipairs(found.err and {} or found) do
    local f = {}
    for i = 1, #worker, 2 do f[worker[i]] = worker[i + 1] end
    for _, value in ipairs({f.name, f.pending, f.idle}) do consumers[#consumers + 1] = value end
  end
end
return {string.format('%d', now_ms()), redis.call('HGETALL', workers), consumers}
