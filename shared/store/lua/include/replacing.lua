-- Gives a live job whose lease vanished a new entry, and with it a new token. The lost lease is not part of its past: its
-- readers get a gap.
-- INCLUDE backlog places

-- f: fields of the job's record.
local function replace_entry(job, f)
  local place = f.place or place_from(f.entry or '', f.spec, f.created)
  local entry = enter(f.org, job, place, f.losses, f.deadline)
  -- Events of the lost lease do not count for the next one; a log that cannot be read is left to recover.
  local base = redis.pcall('HLEN', log_prefix .. job)
  redis.call('HSET', job_prefix .. job, 'state', 'queued', 'entry', entry, 'place', place,
    'base', type(base) == 'number' and base or 0)
end
