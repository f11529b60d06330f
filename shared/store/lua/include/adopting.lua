-- What becomes of an entry that was delivered to this consumer: a claim, an end, or nothing.

local now, claims = now_ms(), {}
local holds_suspect, put_anew = false, false

local function answer(token, job, f, attempt)
  claims[#claims + 1] = {job, token, f[3], attempt, f[5], f[6], f[7] or '0'}
  holds_suspect = holds_suspect or string.sub(token, 1, 1) == 's'
end

-- repeated: the entry was delivered to this consumer by an earlier claim, whose answer was lost.
local function adopt(token, job, repeated)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'entry', 'state', 'spec', 'attempt', 'created', 'deadline', 'losses', 'org')
  if f[1] ~= token or not (f[2] == 'queued' or f[2] == 'processing') then return release(token) end
  local attempt = tonumber(f[4] or 0)
  if f[2] == 'processing' and repeated then return answer(token, job, f, attempt) end
  if f[2] == 'processing' then
    -- Running, and yet delivered anew: the group was lost and every lease with it. Two workers with one token would
    -- be no fence (I4).
    put_anew = true
    replace_entry(job, f[7])
    return release(token)
  end
  if tonumber(f[6]) <= now then
    end_job(job, f[8], '0-0', 'failed', '{"error":{"type":"DeadlineExceeded","message":' ..
      '"the deadline passed before the job could run","retryable":false}}', 1, -1, 2, string.format('%d', now))
    return release(token)
  end
  redis.call('HSET', record, 'state', 'processing', 'attempt', attempt + 1, 'started', string.format('%d', now), 'worker', consumer)
  announce(job, f[8], token .. '.1', 'processing')
  answer(token, job, f, attempt + 1)
end

-- A corrupt record must not cost its neighbours their answer: what fails here stays pending and is met by recover.
local function adopt_all(letter, entries, repeated)
  for _, entry in ipairs(entries) do pcall(adopt, letter .. entry[1], entry[2] and entry[2][2] or '', repeated) end
  return #entries
end
