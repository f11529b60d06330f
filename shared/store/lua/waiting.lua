-- Finds the reason why a queued job waits. It writes nothing, and is called only when a caller asks for one job.
-- KEYS line gates organizations policies ledger held_organizations
-- PREFIX job backlog throttled budget
-- ARGV job chain limits running_max slot_share
-- RETURNS {reason, gate or '', time (ms) until which it waits at least or 0, jobs of its organisation that go first or -1};
--   {} when it is not queued
-- INCLUDE now gate_states settled organizations policies quotas shares token_clocks token_limits withholding

-- Entries of the line that are read to find the job's place there.
local LINE_MAX = 1000

local f = redis.call('HMGET', job_prefix .. job, 'state', 'org', 'entry', 'due')
local organization, entry, due = f[2], f[3] or '', tonumber(f[4] or 0) or 0
if f[1] ~= 'queued' then return {} end

local function answer(reason, gate_name, until_ms, ahead)
  return {reason, gate_name or '', string.format('%d', until_ms or 0), ahead or -1}
end

-- The organisation's counts, read without the write that others read them with.
local function read_counts()
  local packed = redis.pcall('HGET', organizations, organization)
  known[organization] = unpack_counts(type(packed) == 'string' and tonumber(packed) or 0)
end

-- Returns the reason why a gate lets no call pass now, and until when at least.
local function state_of(name)
  if is_paused(name) then return 'paused', math.huge end
  local state = gate(name)
  if state.blocked_until > now then
    return state.why == 2 and 'provider_down' or 'rate_limited', state.blocked_until
  end
  return 'rate_limited', math.max(state.requests, state.tokens)
end

-- Of the gates of its chain, the one that has room first.
local function at_gates(queues)
  local found, reason, opens, ahead
  local own = token_limit_of(organization)
  for name in string.gmatch(queues == FLEET and chain or queues, '%S+') do
    local why, ms = state_of(name)
    local paid_at = own > 0 and clock_of(name, organization, own) or now
    if paid_at > math.max(ms, now) then why, ms = 'organization_limit', paid_at end
    if not opens or ms < opens then found, reason, opens = name, why, ms end
  end
  local queue = queues == FLEET and FLEET or found
  if queue then ahead = redis.call('ZRANK', throttled_prefix .. queue .. ' ' .. organization, job) end
  return answer(reason or 'queued', found, opens and opens > now and opens < math.huge and opens or 0, ahead or nil)
end

local function reason_of_hold()
  if policy_of(organization).paused == 1 then return 'paused' end
  if is_capped(organization) then return 'organization_limit' end
  return is_held(organization) and 'budget' or nil
end

-- Whether others go first because this organisation has its share of the slots.
local function is_at_share()
  local running = running_of(organization)
  return running > 1 and others_wait(organization, {}, false) and running >= slots_of(organization)
end

-- Returns how many entries of its organisation are in the line before this one; nil: not known.
local function place_in_line(id)
  if counts_of(organization).placed <= 1 then return 0 end
  local last, ahead = '0-0', 0
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', line)) do
    for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then last = group[i + 1] end end
  end
  for _, found in ipairs(redis.call('XRANGE', line, '(' .. last, id, 'COUNT', LINE_MAX)) do
    if found[1] == id then return ahead end
    if found[2][4] == organization then ahead = ahead + 1 end
  end
end

local function in_backlog()
  local rank = redis.call('ZRANK', backlog_prefix .. organization, job)
  return rank and rank + counts_of(organization).placed or nil
end

-- The answer for a job that waits for the budget of its project; nil: it does not.
local function if_withheld()
  if not policy_of(organization).projects then return nil end
  local key = backlog_prefix .. organization
  local score = tonumber(redis.call('ZSCORE', key, job) or 0)
  if score < WITHHELD_FROM then return nil end
  local first = math.floor(score / WITHHELD_FROM) * WITHHELD_FROM
  local ahead = redis.call('ZCOUNT', key, string.format('%.0f', first), string.format('(%.0f', score))
  return answer(reason_of_hold() or 'budget', '', 0, ahead)
end

local letter = string.sub(entry, 1, 1)
if letter == 'd' then return answer('delayed', '', due) end
note_settled(redis.call('HGET', gates, SETTLED))
read_counts()
if letter == 't' or letter == 'p' then return at_gates(string.sub(entry, 2)) end

local withheld_answer = letter == 'b' and if_withheld()
if withheld_answer then return withheld_answer end

local ahead
if letter == 'b' then ahead = in_backlog() elseif letter == 'q' then ahead = place_in_line(string.sub(entry, 2)) end
return answer(is_paused(QUEUE) and 'paused' or reason_of_hold() or is_at_share() and 'fair_share' or 'queued', '', 0, ahead)
