-- Gives a live job whose lease vanished an entry, and with it a token, of its own. The lost lease is not part of its
-- past: readers of it get a gap.
-- INCLUDE lease

local function replace_entry(job, losses)
  local letter = queue_after(losses)
  local entry = letter .. redis.call('XADD', streams[letter], '*', 'j', job)
  -- What the lost lease logged is none of the next one's; a log that cannot be read is met by recover.
  local base = redis.pcall('HLEN', log_prefix .. job)
  redis.call('HSET', job_prefix .. job, 'state', 'queued', 'entry', entry, 'base', type(base) == 'number' and base or 0)
end
