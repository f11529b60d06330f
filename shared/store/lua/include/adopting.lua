-- Decides on an entry that was delivered to this consumer: it becomes a claim, ends, goes to the queues of its gates, gets
-- another entry, or is left.
-- INCLUDE release lease announce now overdue predating replacing organizations policies rows reserving

-- replaced: entries that got other ids in this call.
local soonest, replaced, ends_soon = -1, 0, false

local function start(token, job, f, attempt, name)
  local extra = {}
  if name ~= string.match(chain, '^%S*') or f.gate then extra = {'gate', name} end
  if f.pass and f.pass ~= '' then extra[#extra + 1], extra[#extra + 2] = 'pass', '' end
  if f.entry ~= token then extra[#extra + 1], extra[#extra + 2] = 'entry', token end
  -- One that was settled under a budget which is gone says nothing about the next one.
  if f.budgeted or (f.reserved or '') ~= '' then
    extra[#extra + 1], extra[#extra + 2] = 'reserved', f.budgeted and f.reserved or ''
  end
  if policy_of(f.org).kept then extra[#extra + 1], extra[#extra + 2] = 'retained', 1 end
  redis.call('HSET', job_prefix .. job, 'state', 'processing', 'attempt', attempt, 'started', string.format('%d', now),
    'worker', consumer, unpack(extra))
  if quiet ~= '1' then announce(job, f.org, token .. '.1', 'processing') end
end

-- Counts a job as one that runs, from here on.
local function note_start(letter, f, whose)
  note(f.org, 'running', 1)
  -- An entry of an older release names no organisation, and its job was never counted as waiting.
  if whose then note_waiting(f.org, -1, #f.spec, f.own_chain) end
end

local function note_return(f)
  note(f.org, 'running', -1)
  note_waiting(f.org, 1, #f.spec, f.own_chain)
end

-- Whether a job came from its backlog to this entry, and its record does not say so: an older release may leave it so.
local function is_left_in_line(token, job, f)
  return f.entry == 'b' and string.sub(token, 1, 1) == 'q' and f.org ~= nil
    and not redis.call('ZSCORE', backlog_prefix .. f.org, job)
end

-- Returns the fields of an entry's record when it is to run; nil: the entry was dealt with, and whether the job ran. whose:
-- the organisation that the entry names; expected: the job's place by its record. repeated: the entry was delivered to this
-- consumer by an earlier claim, whose reply was lost.
local function examine(token, job, whose, expected, repeated)
  local f = read_entry(job)
  -- It stays pending: a worker of the release that knows it recovers it.
  if foreign(f.v, f.state) then
    -- It is no longer in its backlog, and is found by its entry alone.
    if expected == 'b' and f.entry == 'b' then redis.call('HSET', job_prefix .. job, 'entry', token) end
    return nil
  end
  if not LIVE[f.state] or f.entry ~= expected and not is_left_in_line(token, job, f) then return release(token) end

  local attempt = tonumber(f.attempt or 0)
  local running, predating = f.state == 'processing', predates(token)
  if running and repeated and not predating then
    read_reservation(f)
    answer(token, job, f, attempt, f.gate or string.match(chain, '^%S*'))
    return nil
  end
  -- Running, and yet delivered again: the group was lost and every lease with it. Or from before a fail-over: a claim of
  -- this entry, or the end of an attempt of this consumer, may have been lost with the old master. Two attempts with one
  -- token would break the fence (I4), and readers would take the text of one for the rest of the other (I10).
  if running or predating then
    replaced = replaced + 1
    if running then note_return(f) end
    replace_entry(job, f)
    if running and repeated then redis.call('HSET', job_prefix .. job, 'attempt', math.max(attempt - 1, 0)) end
    release(token)
    return nil, running
  end
  if tonumber(f.deadline) <= now then
    if not repeated then note_start(string.sub(token, 1, 1), f, whose) end
    end_overdue(job, f.org, f.lost)
    return release(token)
  end
  return f
end
