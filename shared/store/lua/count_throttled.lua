-- Counts throttled jobs of one organisation in one queue, a page of them. A job waits in the queues of its whole chain, and is
-- counted in the first.
-- KEYS throttled_deadlines
-- PREFIX job throttled throttled_by chain_set
-- ARGV organization queue start page
-- RETURNS {jobs, members of the queue that were read}
-- INCLUDE queues

local found = 0
local jobs = redis.call('ZRANGE', queue_key(queue, organization), start, start + page - 1)
for _, job in ipairs(jobs) do
  local f = redis.pcall('HMGET', job_prefix .. job, 'org', 'entry')
  if f[1] == organization and string.match(f[2] or '', '^t(%S+)') == queue then found = found + 1 end
end
return {found, #jobs}
