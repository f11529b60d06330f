-- Gives a live job whose lease vanished a new entry, and with it a new token. The lost lease is not part of its past: its
-- readers get a gap.
-- INCLUDE lease

local function replace_entry(job, losses)
  local letter = queue_after(losses)
  local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  -- Events of the lost lease do not count for the next one; a log that cannot be read is left to recover.
  local base = redis.pcall('HLEN', log_prefix .. job)
  redis.call('HSET', job_prefix .. job, 'state', 'queued', 'entry', entry, 'base', type(base) == 'number' and base or 0)
end
