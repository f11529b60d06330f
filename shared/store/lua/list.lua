-- Reads the fields of jobs that a listing shows: of a large outcome its `brief`, or nothing, never its text.
-- KEYS counts
-- PREFIX job
-- ARGV status bytes_max outcome_max
-- ITEM job
-- status: only jobs with this status; empty: all.
-- RETURNS per job the fields of its record in the order of `job_index.FIELDS`, NONE, or, once `bytes_max` are used up,
--   LATER
-- INCLUDE batch

local used, most = 0, tonumber(bytes_max)

local function small(record, field)
  return redis.call('HSTRLEN', record, field) <= tonumber(outcome_max) and redis.call('HGET', record, field)
end

return each_item(function(job)
  if used >= most then return 'LATER' end
  local record = job_prefix .. job
  local state, org, spec, attempt, created, deadline, started, ended, entry, cancel, due, v, forced, retried_as, outcome =
    unpack(redis.call('HMGET', record, 'state', 'org', 'spec', 'attempt', 'created', 'deadline', 'started', 'ended', 'entry',
      'cancel', 'due', 'v', 'forced', 'retried_as', 'brief'))
  if not state or status ~= '' and state ~= status then return 'NONE' end
  if ended and not outcome then outcome = small(record, 'outcome') end
  local late = forced and small(record, 'late')
  used = used + #(spec or '') + #(outcome or '')
  return {state, org, spec, attempt, created, deadline, started, ended, entry, cancel, due, v, outcome, late, retried_as}
end)
