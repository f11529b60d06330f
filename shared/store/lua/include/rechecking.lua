-- Checks again the organisations that may start no job, and those whose projects may not.
-- INCLUDE now quotas budgets letting_in project_checks backlog policies

-- Checks a held organisation. A new period, or a job before the one that found no room, may have made its budget sufficient:
-- the next claim finds out.
local function check_held(organization)
  if has_budget(organization) then drop_hold(organization) end
  if not is_held(organization) then return let_in(organization) end
  redis.call('ZADD', held_organizations, check_time(organization, now + tonumber(lease_ms)), organization)
  return false
end

-- Checks the withheld jobs of an organisation.
local function check_withheld(organization) return check_projects(organization) and refill(organization) end

-- Lets organisations in again that were held and may run. One that was checked in vain goes behind the others. Returns
-- whether any came in, and whether there are more to check now.
local function let_in_all(most, begin_writing)
  local came = false
  local found = redis.call('ZRANGEBYSCORE', held_organizations, '-inf', string.format('%d', now), 'LIMIT', 0, most)
  for _, organization in ipairs(found) do
    begin_writing()
    local whose = string.match(organization, '^(%S+) %*$')
    local ok, some = pcall(whose and check_withheld or check_held, whose or organization)
    if not ok then
      redis.call('ZADD', held_organizations, string.format('%d', now + tonumber(lease_ms)), organization)
    end
    came = came or ok and some
  end
  return came, #found == most
end
