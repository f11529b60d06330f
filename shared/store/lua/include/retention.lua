-- Applies the retention of organisations to jobs that a call ended, and to usage that it summed up, once their counts were written:
-- these show whether an organisation has settings. Where an end changes no count, claim and record of the job show it.
-- KEYS retention_timers due wake
-- PREFIX job log usage
-- ARGV result_ttl failed_ttl log_ttl lease_ms notice_ms
-- INCLUDE ending organizations policies prompts

-- In `due`, in the place of an organisation: the first of `retention_timers`. No organisation is encoded so.
local RETENTION = '!'

-- own: words of an organisation's settings, in s.
local function ms_of(seconds, default) return seconds and seconds * 1000 or tonumber(default) end

local function life_of(own, status)
  if status == 'failed' then return ms_of(own.failed, failed_ttl) end
  return ms_of(own.result, result_ttl)
end

-- Has something done later (retention_timers.lua). Where that is soon, a worker is woken for it.
local function set_timer(at, after, member)
  local text = string.format('%.0f', at)
  redis.call('ZADD', retention_timers, text, member)
  redis.call('ZADD', due, 'LT', text, RETENTION)
  if at - after <= tonumber(notice_ms) then redis.call('ZADD', wake, -1, 'look') end
end

local function keep_prompt(job, ended, own, life)
  local kept = own.prompt * 1000
  if kept == 0 then return forget_prompt(job) end
  if kept >= life then return end
  set_timer(ended + kept, ended, 'p' .. job)
end

-- ended: ms. The life of a record is set last: it may be over. A forced end's lasts until its worker may have reported.
local function keep_job(own, job, status, ended)
  local life = life_of(own, status)
  if status ~= 'completed' then
    local listed, forced = unpack(redis.call('HMGET', job_prefix .. job, 'indexed', 'forced'))
    if forced then life = math.max(life, 2 * tonumber(lease_ms)) end
    if listed and life < life_of({}, status) then
      set_timer(ended + life, ended, (status == 'failed' and 'f' or 'c') .. listed)
    end
  end
  if own.prompt then keep_prompt(job, ended, own, life) end
  redis.call('PEXPIREAT', log_prefix .. job, string.format('%.0f', ended + math.min(ms_of(own.events, log_ttl), life)))
  redis.call('PEXPIREAT', job_prefix .. job, string.format('%.0f', ended + life))
end

-- A day of usage is kept for so many days after it.
local function keep_usage(folded)
  local kept = {}
  for _, line in ipairs(folded) do
    local day, organization = string.match(line, '^%S+ (%d+) (%S+)')
    local days = organization and known[organization] and policy_of(organization).usage
    local key = days and usage_prefix .. organization .. ':' .. day
    if key and not kept[key] then
      kept[key] = true
      redis.pcall('PEXPIREAT', key, string.format('%.0f', (tonumber(day) + 1 + days) * 86400000))
    end
  end
end

local function keep_as_settled(folded)
  for _, one in ipairs(ended_jobs) do
    local organization = one[4]
    local own = known[organization] and policy_of(organization) or {}
    if own.kept then pcall(keep_job, own, unpack(one)) end
  end
  ended_jobs = {}
  keep_usage(folded)
end
