-- Numbers the projects of an organisation that have budgets (`number@<project>` in its record): while jobs are withheld under a
-- number it stays, also after the budget was taken away.
-- PREFIX backlog
-- INCLUDE withholding

local PROJECTS_MAX = 100

-- Projects with budgets, and the numbers of projects, by what a record names.
local function projects_in(record)
  local budgeted, numbers = {}, {}
  for name, value in pairs(record) do
    local project = string.match(name, '^%a+_nano_usd@(.+)$')
    if project then budgeted[project] = true end
    project = string.match(name, '^number@(.+)$')
    if project then numbers[project] = tonumber(value) end
  end
  return budgeted, numbers
end

local function by_name(flat)
  local record = {}
  for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
  return record
end

-- Whether there would be too many after a change.
local function are_too_many(organization, flat, fields, names)
  local record = by_name(flat)
  for name, value in pairs(by_name(fields)) do record[name] = value end
  for _, name in ipairs(names) do record[name] = nil end
  local budgeted, numbers = projects_in(record)
  local count = 0
  for _ in pairs(budgeted) do count = count + 1 end
  for project, number in pairs(numbers) do
    if not budgeted[project] and not has_none_withheld(organization, number) then count = count + 1 end
  end
  return count > PROJECTS_MAX
end

-- Gives each project with a budget a number, and takes it from those that need none. Returns whether one changed.
local function number_projects(organization, key, flat)
  local budgeted, numbers = projects_in(by_name(flat))
  local used, changed = {}, false
  for project, number in pairs(numbers) do
    if not budgeted[project] and has_none_withheld(organization, number) then
      redis.call('HDEL', key, 'number@' .. project)
      changed = true
    else
      used[number] = true
    end
  end
  for project in pairs(budgeted) do
    local number = numbers[project] or 1
    while not numbers[project] and used[number] do number = number + 1 end
    if not numbers[project] then
      redis.call('HSET', key, 'number@' .. project, number)
      used[number], changed = true, true
    end
  end
  return changed
end
