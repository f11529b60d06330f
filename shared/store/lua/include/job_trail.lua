-- The trail of what callers did to jobs: cancels and deletions, by organisation, so that none crowds out what others did.
-- PREFIX job_trail
-- ARGV job_trail_length job_trail_ttl

-- entry: JSON, empty: nobody is to be named.
local function append_job_entry(organization, entry)
  if entry == '' then return end
  redis.call('XADD', job_trail_prefix .. organization, 'MAXLEN', '~', job_trail_length, '*', 'o', organization, 'e', entry)
  redis.call('PEXPIRE', job_trail_prefix .. organization, job_trail_ttl)
end
