-- Takes new jobs. The record's HSETNX makes a repeated submit harmless; `sent_once`: the caller never repeats one, and saves it.
-- KEYS line suspect isolated requeued high normal low wake deadlines organizations policies rank_slots backlogs held_organizations due ledger gate_bounds
-- PREFIX job idem index org job_channel organization_channel submits backlog delayed blocked_users budget
-- ARGV lease_ms index_ttl index_length organization_events sent_once submits_max running_max queued_max queued_kib_max delayed_max chain bounds
-- ITEM job organization spec queue delay deadline max_attempts route max_tokens idempotency fingerprint idempotency_ttl own_deadline max_cost ended kept task
-- index_length: jobs of an organisation and day that the listing keeps, at most; 0: there is no listing.
-- route: the job's own chain of gates; max_tokens: of its reply; max_cost: nano-USD of all its attempts; each
-- empty when the job does not set it.
-- own_deadline: 1 when the caller set the deadline: it is added to `deadlines`, so that it is met in time wherever the job
-- waits.
-- submits_max: of an organisation in a minute, 0: no limit. The other limits are the defaults of an organisation's own.
-- ended, kept, task: of a retry, see retrying.lua; else empty.
-- RETURNS {code, job, state}: NEW, ALREADY (this id was taken before), SAME (an earlier job of this key), CONFLICT, or
--   LIMIT with `<limit> <its value>`, `<limit> <its value> <ms until there is room>`, `paused`, `user` or `budget <month, day or
--   job> <ms until the next period>` in place of the state, or GONE: the job to retry is not there
-- INCLUDE batch announce organizations policies admitting submit_rate retrying

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

-- Users are looked up only in organisations that have blocked some.
local function is_user_blocked(organization, spec)
  if not policy_of(organization).blocked then return false end
  local ok, decoded = pcall(cjson.decode, spec)
  return ok and redis.call('SISMEMBER', blocked_users_prefix .. organization, decoded.userId) == 1
end

local function refuse_counted(organization, spec)
  if is_user_blocked(organization, spec) then return 'user' end
  local most = limit_of(organization, 'submits', submits_max)
  return most > 0 and rate_refusal(organization, most) or nil
end

-- Counts a job in, if its organisation may have one more; else returns the refusal.
local function refuse(organization, spec, delay, route, max_tokens)
  local refusal, room = count_in(organization, spec, delay, route, max_tokens)
  local ok = true
  if not refusal then ok, refusal = pcall(refuse_counted, organization, spec) end
  if refusal then count_out(organization, #spec, room, route) end
  if not ok then error(refusal, 0) end
  return refusal, room
end

local replies = each_item(function(job, organization, spec, queue, delay, deadline, max_attempts, route, max_tokens,
                                   idempotency, fingerprint, idempotency_ttl, own_deadline, max_cost, ended, kept, task)
  local record = job_prefix .. job
  made = nil
  local before = ended ~= '' and retried_before(ended, organization)
  if before then return before end
  if idempotency ~= '' then
    local answer = earlier(idempotency, fingerprint, job)
    if answer then return answer end
  end
  if sent_once ~= '1' and redis.call('HSETNX', record, 'v', 1) == 0 then
    return {'ALREADY', job, redis.call('HGET', record, 'state') or 'queued'}
  end
  delay = tonumber(delay)
  local counted, refusal, room = pcall(refuse, organization, spec, delay, route, max_tokens)
  if not counted or refusal then
    if sent_once ~= '1' then redis.call('DEL', record) end
    if not counted then error(refusal, 0) end
    return {'LIMIT', job, refusal}
  end

  local fields = {'v', 1, 'org', organization, 'state', 'queued', 'spec', spec, 'max_attempts', max_attempts}
  if route ~= '' then fields[#fields + 1], fields[#fields + 2] = 'route', route end
  if max_tokens ~= '' then fields[#fields + 1], fields[#fields + 2] = 'max_tokens', max_tokens end
  if max_cost ~= '' then fields[#fields + 1], fields[#fields + 2] = 'max_cost', max_cost end
  local ok, failure = pcall(function()
    local created = enqueue(job, organization, queue, delay, tonumber(deadline), room, fields)
    if own_deadline == '1' then redis.call('ZADD', deadlines, string.format('%d', created + deadline), job) end
    if tonumber(index_length) > 0 then list(organization, created, job) end
    if idempotency ~= '' then
      redis.call('SET', idem_prefix .. idempotency, job .. ' ' .. fingerprint, 'PX', idempotency_ttl)
    end
    if ended ~= '' then note_retry(ended, organization, job, kept, task) end
    if organization_events == '1' then announce(job, organization, '0-0.1', 'queued') end
  end)
  if not ok then
    undo(job, organization)
    count_out(organization, #spec, room, route)
    error(failure, 0)
  end
  if limit_of(organization, 'submits', submits_max) > 0 then note_submit(organization) end
  return {'NEW', job, 'queued'}
end)
if is_made('submit_rate') then save_submits() end
save_counts()
if wake_to_poll then redis.call('ZADD', wake, -1, 'look') end
if wake_for_job then redis.call('ZADD', wake, 0, 'job') end
return replies
