-- Takes new jobs. The record's HSETNX makes a repeated submit harmless; `sent_once`: the caller never repeats one, and saves it.
-- KEYS requeued suspect isolated high normal low due_high due_normal due_low wake deadlines
-- PREFIX job idem index org job_channel organization_channel submits
-- ARGV lease_ms index_ttl index_length organization_events sent_once submits_max
-- ITEM job organization spec queue delay deadline max_attempts route max_tokens idempotency fingerprint idempotency_ttl own_deadline ended kept task
-- index_length: jobs of an organisation and day that the listing keeps, at most; 0: there is no listing.
-- route: the job's own chain of gates; max_tokens: of its reply; both empty when the job does not set them.
-- own_deadline: 1 when the caller set the deadline: it is added to `deadlines`, so that it is met in time wherever the job
-- waits.
-- submits_max: of an organisation in a minute, 0: no limit.
-- ended, kept, task: of a retry, see retrying.lua; else empty.
-- RETURNS {code, job, state}: NEW, ALREADY (this id was taken before), SAME (an earlier job of this key), CONFLICT, or
--   LIMIT with `<limit> <its value> <ms until there is room>` in place of the state, or GONE: the job to retry is not there
-- INCLUDE batch lease clock announce submit_rate retrying

local due_sets = {h = due_high, n = due_normal, l = due_low}
local wake_for_job, wake_to_poll, made

local function enqueue(record, job, queue, delay, deadline, fields)
  local created, entry
  if delay > 0 then
    created, entry = now_ms(), 'd' .. queue
    fields[#fields + 1], fields[#fields + 2] = 'due', string.format('%d', created + delay)
    redis.call('ZADD', due_sets[queue], string.format('%d', created + delay), job)
    wake_to_poll = wake_to_poll or delay <= tonumber(lease_ms)
  else
    made = redis.call('XADD', streams[queue], '*', 'j', job)
    created, entry = tonumber(string.match(made, '^%d+')), queue .. made
    wake_for_job = true
  end
  redis.call('HSET', record, 'entry', entry, 'created', string.format('%d', created),
    'deadline', string.format('%d', created + deadline), unpack(fields))
  return created, entry
end

local function undo(record, job, queue)
  if made then redis.call('XDEL', streams[queue], made) end
  redis.call('ZREM', due_sets[queue], job)
  redis.call('ZREM', deadlines, job)
  redis.call('DEL', record)
end

local function earlier(idempotency, fingerprint, job)
  local key = idem_prefix .. idempotency
  local prior = redis.call('GET', key)
  if not prior then return end
  local prior_job, prior_print = string.match(prior, '^(%S+) (%S*)$')
  local state = answered_state(job_prefix .. prior_job)
  if not state or prior_job == job then return end
  if prior_print ~= fingerprint then return {'CONFLICT', prior_job, state} end
  return {'SAME', prior_job, state}
end

local function list(organization, created, job)
  local index = index_prefix .. organization .. ':' .. string.format('%d', math.floor(created / 86400000))
  local length = redis.call('RPUSH', index, job)
  if length == 1 then redis.call('PEXPIRE', index, index_ttl) end
  if length > tonumber(index_length) then redis.call('LPOP', index) end
end

local replies = each_item(function(job, organization, spec, queue, delay, deadline, max_attempts, route, max_tokens,
                                   idempotency, fingerprint, idempotency_ttl, own_deadline, ended, kept, task)
  local record = job_prefix .. job
  made = nil
  local before = retried_before(ended, organization)
  if before then return before end
  if idempotency ~= '' then
    local answer = earlier(idempotency, fingerprint, job)
    if answer then return answer end
  end
  if sent_once ~= '1' and redis.call('HSETNX', record, 'v', 1) == 0 then
    return {'ALREADY', job, redis.call('HGET', record, 'state') or 'queued'}
  end
  local refusal = rate_refusal(organization, tonumber(submits_max))
  if refusal then
    if sent_once ~= '1' then redis.call('DEL', record) end
    return {'LIMIT', job, refusal}
  end
  local fields = {'v', 1, 'org', organization, 'state', 'queued', 'spec', spec, 'max_attempts', max_attempts}
  if route ~= '' then fields[#fields + 1], fields[#fields + 2] = 'route', route end
  if max_tokens ~= '' then fields[#fields + 1], fields[#fields + 2] = 'max_tokens', max_tokens end
  local ok, failure = pcall(function()
    local created = enqueue(record, job, queue, tonumber(delay), tonumber(deadline), fields)
    if own_deadline == '1' then redis.call('ZADD', deadlines, string.format('%d', created + deadline), job) end
    if tonumber(index_length) > 0 then list(organization, created, job) end
    if idempotency ~= '' then
      redis.call('SET', idem_prefix .. idempotency, job .. ' ' .. fingerprint, 'PX', idempotency_ttl)
    end
    note_retry(ended, organization, job, kept, task)
    if organization_events == '1' then announce(job, organization, '0-0.1', 'queued') end
  end)
  if not ok then
    undo(record, job, queue)
    error(failure)
  end
  note_submit(organization, tonumber(submits_max))
  return {'NEW', job, 'queued'}
end)
save_submits()
if wake_to_poll then redis.call('ZADD', wake, -1, 'look') end
if wake_for_job then redis.call('ZADD', wake, 0, 'job') end
return replies
