-- Indexes jobs that failed or were cancelled: an entry in the stream of their organisation and one of the same id in that of
-- all (`*`). Failed jobs are kept for longer than others: of an organisation the newest, up to a number and a size.
-- PREFIX failures cancellations failure_totals
-- ARGV failed_ttl result_ttl failed_jobs_max failed_bytes_max
-- INCLUDE clock failure_entries

local ALL, DROPPED_MAX = '*', 64
local INDEX_OF = {failed = failures_prefix, cancelled = cancellations_prefix}

-- Removes an entry from both streams; answers its text, or nil when it is gone.
local function remove_entry(index, organization, id)
  local found = redis.call('XRANGE', index .. organization, id, id)[1]
  redis.call('XDEL', index .. ALL, id)
  if not found then return end
  redis.call('XDEL', index .. organization, id)
  if index == failures_prefix then
    local bytes = tonumber(string.match(found[2][2], '^%S+ %S+ (%d+)') or 0)
    redis.call('HINCRBY', failure_totals_prefix .. organization, 'bytes', -bytes)
  end
  return found[2][2]
end

-- The record of a failed job that leaves the index lives no longer than that of any other job; it may have less left.
local function shorten_life(job, id)
  local at = tonumber(string.match(id, '^%d+')) + tonumber(result_ttl)
  if redis.call('PTTL', job_prefix .. job) > at - now_ms() then
    redis.call('PEXPIREAT', job_prefix .. job, string.format('%.0f', at))
  end
end

local function count_dropped(organization)
  for _, whose in ipairs({organization, ALL}) do
    redis.call('HINCRBY', failure_totals_prefix .. whose, 'dropped', 1)
    redis.call('PEXPIRE', failure_totals_prefix .. whose, failed_ttl)
  end
end

-- Drops entries that are older than `oldest` (ms) or beyond the bounds, the oldest first, in a bounded number of steps.
local function drop_oldest(index, organization, oldest)
  local own, totals = index .. organization, failure_totals_prefix .. organization
  for _ = 1, DROPPED_MAX do
    local first = redis.call('XRANGE', own, '-', '+', 'COUNT', 1)[1]
    local old = first and tonumber(string.match(first[1], '^%d+')) < oldest
    local bytes = index == failures_prefix and tonumber(redis.call('HGET', totals, 'bytes') or 0) or 0
    if not first or not old and bytes <= tonumber(failed_bytes_max)
      and redis.call('XLEN', own) <= tonumber(failed_jobs_max) then return end
    local text = remove_entry(index, organization, first[1])
    if not old and index == failures_prefix then
      shorten_life(string.match(text, '^%S+'), first[1])
      count_dropped(organization)
    end
  end
end

local function add_to_index(job, organization, status, outcome)
  local index, ttl = INDEX_OF[status], status == 'failed' and failed_ttl or result_ttl
  local text, bytes = describe_failure(job, organization, outcome)
  local id = redis.call('XADD', index .. ALL, '*', 'e', text)
  local ok, failure = pcall(redis.call, 'XADD', index .. organization, id, 'e', text)
  if not ok then
    redis.call('XDEL', index .. ALL, id)
    error(failure)
  end
  redis.call('HSET', job_prefix .. job, 'indexed', id)
  if status == 'failed' then
    redis.call('HINCRBY', failure_totals_prefix .. organization, 'bytes', bytes)
    redis.call('PEXPIRE', failure_totals_prefix .. organization, ttl)
  end

  local oldest = tonumber(string.match(id, '^%d+')) - tonumber(ttl)
  drop_oldest(index, organization, oldest)
  redis.call('XTRIM', index .. ALL, 'MINID', '~', string.format('%.0f', math.max(oldest, 0)))
  for _, whose in ipairs({organization, ALL}) do redis.call('PEXPIRE', index .. whose, ttl) end
end

-- A job that failed or was cancelled enters the index; one whose index cannot be written has ended nevertheless.
local function index_end(job, organization, status, outcome)
  if INDEX_OF[status] and organization then pcall(add_to_index, job, organization, status, outcome) end
end

-- A job leaves the index. Answers whether it was in it.
local function unindex(job, organization)
  local f = redis.call('HMGET', job_prefix .. job, 'state', 'indexed')
  return f[2] and INDEX_OF[f[1]] and remove_entry(INDEX_OF[f[1]], organization, f[2]) ~= nil
end
