-- Reads or measures the text that a lease has written to the job's log so far; `number`: its last event. Text is read
-- for a job that ends here, up to half a MiB and DELTAS_MAX pieces. Where only its length counts it is measured.
-- measured: deltas that this call has read or measured.

local PAGE, TEXT_MAX, MEASURED_MAX = 512, 524288, 1024
-- Of pieces, which a worker writes at most twelve times a second: five minutes of text, 5 ms of the server.
local DELTAS_MAX = 4096
local measured = 0

local function partial_text(job, token, number)
  local deltas, bytes = {}, 0
  number = math.min(number, DELTAS_MAX)
  measured = measured + number
  for first = 2, number, PAGE do
    local fields = {}
    for i = first, math.min(first + PAGE - 1, number) do fields[#fields + 1] = token .. '.' .. i end
    for _, delta in ipairs(redis.call('HMGET', log_prefix .. job, unpack(fields))) do
      if delta and string.sub(delta, 1, 1) == 'd' then
        bytes = bytes + #delta - 1
        if bytes > TEXT_MAX then
          measured = measured + DELTAS_MAX
          return table.concat(deltas)
        end
        deltas[#deltas + 1] = string.sub(delta, 2)
      end
    end
  end
  return table.concat(deltas)
end

-- Bytes of text. Of more than MEASURED_MAX deltas an even sample is measured.
local function logged_bytes(job, token, number)
  local count, sum, asked = number - 1, 0, 0
  if count <= 0 then return 0 end
  for i = 2, number, math.ceil(count / MEASURED_MAX) do
    sum, asked = sum + math.max(redis.call('HSTRLEN', log_prefix .. job, token .. '.' .. i) - 1, 0), asked + 1
  end
  measured = measured + asked
  return math.floor(sum * count / asked + 0.5)
end
