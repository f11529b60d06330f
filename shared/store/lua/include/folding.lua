-- Sums up the lines of the ledger, at FOLD_AT of them: in `counts`, in a hash per organisation and day (`usage`), and in each
-- organisation's ended jobs (`ended`).
-- INCLUDE ending ended_lines organizations day_sums durations

-- A job that ends alone leaves two lines: its end, and how long it waited and ran.
local FOLD_AT = 512
local LINE = '^%S+ (%d+) (%S+) (%S+ %S+) (%d+) (%d+) (%d+) (%S+) ([01])$'

-- Sums of lines by organisation and day, in each by project and model; and ends by status. A line
-- without usage adds nothing to the sums.
local function sum_lines(lines)
  local days, statuses = {}, {}
  for _, line in ipairs(lines) do
    local status = string.match(line, '^%S+') or '-'
    statuses[status] = (statuses[status] or 0) + 1
    local day, organization, field, input, output, cached, cost, estimated = string.match(line, LINE)
    if day then
      local key = organization .. ':' .. day
      days[key] = days[key] or {}
      local total, priced = days[key][field] or {0, 0, 0, 0, 0, 0, 0}, tonumber(cost)
      for i, more in ipairs({1, input, output, cached, priced or 0, priced and 0 or 1, estimated}) do
        total[i] = total[i] + tonumber(more)
      end
      days[key][field] = total
    end
  end
  return days, statuses
end

-- Adds to the ended jobs of each organisation, by outcome: `completed failed cancelled`, kept as long as its sums.
local function count_by_organization(ends)
  local keys, whose = {}, {}
  for organization in pairs(ends) do keys[#keys + 1], whose[#whose + 1] = ended_prefix .. organization, organization end
  if #keys == 0 then return end
  local befores = redis.call('MGET', unpack(keys))
  for i, before in ipairs(befores) do
    local completed, failed, cancelled = string.match(before or '', '^(%d+) (%d+) (%d+)$')
    local more = ends[whose[i]]
    redis.call('SET', keys[i], string.format('%.0f %.0f %.0f', (tonumber(completed) or 0) + (more.completed or 0),
      (tonumber(failed) or 0) + (more.failed or 0), (tonumber(cancelled) or 0) + (more.cancelled or 0)), 'PX', usage_ttl)
  end
end

-- Takes the ends off the jobs that are counted as running.
local function take_off(lines)
  local ends = {}
  for _, line_text in ipairs(lines) do
    local status, organization = counted_end(line_text)
    if status then
      note(organization, 'running', -1)
      ends[organization] = ends[organization] or {}
      ends[organization][status] = (ends[organization][status] or 0) + 1
    end
  end
  pcall(count_by_organization, ends)
end

-- The lines leave the list first: so damage in one organisation's hash loses that sum once, and does not fail every later
-- call. Jobs that are missing in the sums are counted as `unbooked`. Returns the lines, and whether there may be more.
local function fold()
  local lines = redis.call('LRANGE', ledger, 0, FOLD_AT - 1)
  redis.call('LTRIM', ledger, #lines, -1)
  local ends, times = {}, {}
  for _, line_text in ipairs(lines) do
    local kind = string.find(line_text, '^durations:') and times or ends
    kind[#kind + 1] = line_text
  end
  local days, statuses = sum_lines(ends)
  for status, ended in pairs(statuses) do
    if ENDS[status] then tally[status] = (tally[status] or 0) + ended end
  end
  for key, sums in pairs(days) do
    local jobs = 0
    for _, total in pairs(sums) do jobs = jobs + total[1] end
    if not pcall(add_to_day, key, sums) then tally.unbooked = (tally.unbooked or 0) + jobs end
  end
  take_off(ends)
  pcall(add_durations, times)
  return lines, #lines == FOLD_AT
end

-- The same once the list is that long; else nothing is done.
local function fold_when_full(length) return length >= FOLD_AT and fold() or {} end
