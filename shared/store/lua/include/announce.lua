-- Publishes an event of a job. The notification carries the event's id only; the log is the truth. Life-cycle events also
-- go to the organisation's log.

local function announce(job, organization, event, kind)
  local receivers = redis.call('PUBLISH', job_channel_prefix .. job, event)
  if organization_events == '1' and organization then
    -- A log of the organisation that cannot be written must neither keep a job from its end nor end it twice.
    pcall(function()
      local key = org_prefix .. organization
      redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', 'job', job, 'kind', kind, 'event', event)
      redis.call('PEXPIRE', key, 86400000)
      redis.call('PUBLISH', organization_channel_prefix .. organization, job)
    end)
  end
  return receivers
end
