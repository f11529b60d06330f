-- Ends running jobs: completed, failed or cancelled, decided by the worker that holds the lease.
-- KEYS again suspect high normal low counts suspects
-- PREFIX job log bell org orgbell
-- ARGV result_ttl log_ttl organization_events
-- ITEM consumer job organization token status outcome number offset final ended spec
-- spec: what the record keeps of what was asked for.
-- RETURNS OK, ALREADY (this lease ended it before), LATE (a cancel was forced; usage and cost were kept), LOST
-- INCLUDE batch lease announce ending

local function refused(job, token, status, outcome)
  local record = job_prefix .. job
  local f = redis.call('HMGET', record, 'entry', 'state', 'forced')
  if f[1] ~= token or f[2] == 'processing' then return 'LOST' end
  if f[3] then
    return redis.call('HSETNX', record, 'late', outcome) == 1 and 'LATE' or 'LOST'
  end
  return f[2] == status and 'ALREADY' or 'LOST'
end

local replies = each_item(function(consumer, job, organization, token, status, outcome, number, offset, final,
                                   ended, spec)
  if not holds(consumer, token) then return refused(job, token, status, outcome) end
  end_job(job, organization, token, status, outcome, number, offset, final, ended, {'spec', spec})
  if string.sub(token, 1, 1) == 's' then redis.call('HDEL', suspects, consumer) end
  release(token)
  return 'OK'
end)
count_ended()
return replies
