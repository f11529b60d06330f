-- Ends a job, the only way to: state, outcome and terminal event in one HSET; record and log get their TTL. The caller
-- counts it, once.
-- INCLUDE announce failure_index

local tally = {}
-- Ends of this call: job, status, ms and organisation.
local ended_jobs = {}

local function count(status) tally[status] = (tally[status] or 0) + 1 end

-- number: the last event of this lease in the log; final: the number of the terminal event; offset: characters of the
-- result that the log's deltas hold (-1: all), the rest is the last delta. extra: more fields of the record. unlogged: there
-- is no log.
local function end_job(job, organization, token, status, outcome, number, offset, final, ended, extra, unlogged)
  local record = job_prefix .. job
  redis.call('HSET', record, 'state', status, 'outcome', outcome, 'entry', token, 'last', number,
    'offset', offset, 'ended', ended, 'worker', '', unpack(extra or {}))
  redis.call('PEXPIRE', record, status == 'failed' and failed_ttl or result_ttl)
  -- A first lease that logged nothing has no log; a job that was requeued may have one.
  if not unlogged then redis.call('PEXPIRE', log_prefix .. job, log_ttl) end
  announce(job, organization, token .. '.' .. string.format('%d', final), status)
  if status ~= 'completed' then index_end(job, organization, status, outcome) end
  ended_jobs[#ended_jobs + 1] = {job, status, tonumber(ended), organization}
end

-- More fields of the record for an outcome with a long text (from `records.BRIEF_FROM` bytes): the outcome without it.
local function brief_fields(outcome)
  local text = outcome.result
  if not text or #text < 4096 then return {} end
  outcome.result = nil
  local brief = cjson.encode(outcome)
  outcome.result = text
  return {'brief', brief}
end

local function count_ended()
  for status, ended in pairs(tally) do redis.call('HINCRBY', counts, status, ended) end
end
