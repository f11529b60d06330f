-- Applies retentions to jobs that ended before their organisation had one, or in a worker that did not know it. A life only gets
-- shorter.
-- INCLUDE now policies prompts retention

local jobs_over = {}

local function note_over(job, organization, status, ended)
  jobs_over[#jobs_over + 1] = {job, status, tonumber(ended), organization}
end

-- Settings of the organisations of these jobs by one command, whatever their counts say: few have a retention.
local function retentions()
  local names, found = {}, {}
  for _, one in ipairs(jobs_over) do
    if not found[one[4]] then names[#names + 1], found[one[4]] = one[4], {} end
  end
  for i, text in ipairs(#names > 0 and redis.pcall('HMGET', policies, unpack(names)) or {}) do
    found[names[i]] = parse_policy(text)
  end
  return found
end

local function shorten(own, job, status, ended)
  if redis.call('PTTL', job_prefix .. job) > ended + life_of(own, status) - now then
    keep_job(own, job, status, ended)
  elseif own.prompt and ended + own.prompt * 1000 <= now then
    forget_prompt(job)
  end
end

local function shorten_lives()
  local found = retentions()
  for _, one in ipairs(jobs_over) do
    if found[one[4]].kept then pcall(shorten, found[one[4]], unpack(one)) end
  end
end
