-- What a lease wrote so far, from the job's log; `number`: its last event.
local function partial_text(job, token, number)
  local deltas = {}
  for first = 2, number, 1000 do
    local fields = {}
    for i = first, math.min(first + 999, number) do fields[#fields + 1] = token .. '.' .. i end
    for _, delta in ipairs(redis.call('HMGET', log_prefix .. job, unpack(fields))) do
      if delta and string.sub(delta, 1, 1) == 'd' then deltas[#deltas + 1] = string.sub(delta, 2) end
    end
  end
  return table.concat(deltas)
end
