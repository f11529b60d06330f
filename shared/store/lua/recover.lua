-- Requeues jobs whose worker went silent; never executes them. When the dead consumer held a suspect, only that job's
-- loss counts, so that one poison job does not fail its neighbours. The fourth counted loss ends the job.
-- believed_ms: what the caller holds for this server's time. A call that waited out a stall of the server, or a clock
-- that jumped, makes everybody look silent: then nothing is taken (I6).
-- KEYS again suspect high normal low due_high due_normal due_low wake counts suspects failover ledger
-- PREFIX job log bell org orgbell usage
-- ARGV consumer believed_ms lease_ms losses_max batch result_ttl log_ttl usage_ttl organization_events fenced chain prices
-- ITEM held
-- RETURNS {requeued, failed, ms until the next suspicious entry goes stale or -1, suspicious entries, now}
-- INCLUDE batch lease clock announce ending ledger spending predating requeueing deltas

local now = now_ms()
if math.abs(now - tonumber(believed_ms)) > 1000 then return {0, 0, -1, 0, string.format('%d', now)} end

local held_tokens, suspect_of = {}, {}
for i = ITEM_FIRST, #ARGV do held_tokens[ARGV[i]] = true end
local lease, requeued, failed, next_stale, suspicious = tonumber(lease_ms), 0, 0, -1, 0

local function counts_as_loss(token, owner)
  if owner == consumer then return false end
  if suspect_of[owner] == nil then suspect_of[owner] = redis.call('HGET', suspects, owner) end
  return not suspect_of[owner] or suspect_of[owner] == token
end

local function end_lost(job, token, record, status, outcome)
  local number = last_told(job, record)
  local used = add_spending(job, record.org, outcome, record.lost)
  end_job(job, record.org, token, status, cjson.encode(outcome), number, -1, number + 1, string.format('%d', now),
    brief_fields(outcome))
  book(status, now, used)
  release(token)
  failed = failed + 1
end

local function take_back(token, owner)
  -- A write that cannot grow memory first, so that recovery goes on when the server is full.
  redis.call('PERSIST', wake)
  local id = string.sub(token, 2)
  local entry = redis.call('XRANGE', streams[string.sub(token, 1, 1)], id, id)[1]
  local job = entry and entry[2][2]
  local record = job and read_record(job)
  if not record or record.entry ~= token or (record.state ~= 'processing' and record.state ~= 'queued') then
    return release(token)
  end
  local text = partial_text(job, token, last_number(job, record))
  -- It was paid for, and is void unless the job ends with it: who runs the job next counts it.
  record.lost = record.lost + #text
  if record.cancel then
    return end_lost(job, token, record, 'cancelled', {finishReason = 'cancelled', result = text ~= '' and text or nil})
  end
  if counts_as_loss(token, owner) then record.losses = record.losses + 1 end
  if record.losses > tonumber(losses_max) then
    return end_lost(job, token, record, 'failed',
      {error = {type = 'WorkerLost', message = 'the job lost its worker too often', retryable = false}})
  end
  put_back(job, token, record, 'worker_lost', math.max(record.attempt - 1, 0))
  requeued = requeued + 1
end

-- What cannot be put back has ended; a record that cannot be read is nobody's job, then its entry alone goes.
local function give_up(token)
  local id = string.sub(token, 2)
  local job = redis.call('XRANGE', streams[string.sub(token, 1, 1)], id, id)[1][2][2]
  local f = redis.call('HMGET', job_prefix .. job, 'entry', 'org')
  if f[1] ~= token then return end
  end_job(job, f[2], '0-0', 'failed', '{"error":{"type":"Damaged","message":"the job could not be put back",' ..
    '"retryable":false}}', 1, -1, 2, string.format('%d', now))
  count('failed')
  failed = failed + 1
end

for letter, stream in pairs(streams) do
  for _, row in ipairs(redis.call('XPENDING', stream, GROUP, 'IDLE', math.floor(lease / 2), '-', '+', 1000)) do
    local token, owner, idle = letter .. row[1], row[2], tonumber(row[3])
    if not held_tokens[token] then
      suspicious = suspicious + 1
      if idle < lease then
        next_stale = next_stale < 0 and lease - idle or math.min(next_stale, lease - idle)
      elseif requeued + failed < tonumber(batch) then
        if not pcall(take_back, token, owner) then
          pcall(give_up, token)
          pcall(release, token)
        end
      else
        next_stale = 0
      end
    end
  end
end
if requeued > 0 then redis.call('ZADD', wake, -1, 'look', 0, 'job') end
close_books()
return {requeued, failed, next_stale, suspicious, string.format('%d', now)}
