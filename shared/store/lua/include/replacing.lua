-- Gives a live job whose lease vanished a place, and later a token, of its own. The lost lease is not part of its past:
-- readers of it get a gap.
-- INCLUDE backlog places

-- f: fields of the job's record.
local function replace_entry(job, f)
  local place = f.place or place_from(f.entry or '', f.spec, f.created)
  local entry = enter(f.org, job, place, f.losses, f.deadline)
  -- What the lost lease logged is none of the next one's; a log that cannot be read is met by recover.
  local base = redis.pcall('HLEN', log_prefix .. job)
  redis.call('HSET', job_prefix .. job, 'state', 'queued', 'entry', entry, 'place', place,
    'base', type(base) == 'number' and base or 0)
end
