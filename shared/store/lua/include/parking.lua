-- Parks jobs whose project has no room in its budget: in the backlog of their organisation, where no job is taken from. The
-- word `number@<project>` of its policy, n, says that they have n * BAND added to their place. So all that knows of the backlog
-- (counts, cancels, deadlines, deletion) knows of them. `held_organizations` has `<org> *`: when to look at them, in ms.
-- PREFIX backlog
-- INCLUDE budgets clock organizations policies

-- Above every place, and more than three ranks of places; the order within a project is right to 128 us.
local BAND = 1e16
-- Jobs that one look, or one end, lets in of a project at most; a project that waits is looked at each minute.
local LET_IN_MAX, LOOK_MS = 64, 60000
-- One table, as the number of names is limited. FROM: the lowest score of a parked job.
local parked = {FROM = BAND}

-- The project of a job, if it has a budget of its own.
function parked.project_of(organization, spec)
  if not policy_of(organization).projects then return nil end
  local project = string.match(spec, '^{"projectId":"([^"\\]+)"')
  if not project then
    local ok, told = pcall(cjson.decode, spec)
    project = ok and told.projectId or ''
  end
  return has_budget(organization, project) and project or nil
end

-- What is added to the places of the organisation's projects, the first: nothing.
function parked.offsets(organization)
  local offsets = {0}
  for word, number in pairs(policy_of(organization).projects and policy_of(organization) or {}) do
    if string.find(word, '^number@') then offsets[#offsets + 1] = number * BAND end
  end
  return offsets
end

function parked.place(organization, project, place)
  return string.format('%.0f', policy_of(organization)[named_for('number', project)] * BAND + tonumber(place))
end

function parked.is_empty(organization, number)
  local from, to = string.format('%.0f', number * BAND), string.format('(%.0f', (number + 1) * BAND)
  return redis.call('ZCOUNT', backlog_prefix .. organization, from, to) == 0
end

-- only: `NX`: unless a look is due anyway.
function parked.look_later(organization, wait, only)
  local at = string.format('%.0f', now_ms() + (wait or LOOK_MS))
  redis.call('ZADD', held_organizations, only or 'GT', at, organization .. ' *')
end

-- Lets in the first jobs of a project. Returns how many, and whether there were no more.
local function let_first_in(organization, project, most)
  local key, offset = backlog_prefix .. organization, policy_of(organization)[named_for('number', project)] * BAND
  local found = redis.call('ZRANGEBYSCORE', key, string.format('%.0f', offset), string.format('(%.0f', offset + BAND),
    'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #found, 2 do
    redis.call('ZADD', key, 'XX', string.format('%.0f', tonumber(found[i + 1]) - offset), found[i])
  end
  if #found > 0 and counts_of(organization).ranked == 0 then note(organization, 'ranked', 1) end
  return #found / 2, #found < 2 * most
end

-- Lets in as many as there is room for, if each needs as much as the first.
function parked.let_in(organization, project)
  local needed = amounts_of(organization, named_for('held', project))
  local room = room_of(organization, nil, project)
  if not needed.is_there or room < needed[1] then return 0, false end
  return let_first_in(organization, project, math.min(math.max(math.floor(room / math.max(needed[1], 1)), 1), LET_IN_MAX))
end

-- After a job of the project started.
function parked.go_on(organization, project)
  local _, no_more = parked.let_in(organization, project)
  if no_more then drop_hold(organization, project) end
end

-- The projects for whose budget a job waits, or did.
local function waiting_projects(organization)
  local projects, fields, found = {}, {}, {}
  for word in pairs(policy_of(organization)) do
    local project = string.match(word, '^number@(.+)$')
    if project then projects[#projects + 1], fields[#fields + 1] = project, named_for('held', project) end
  end
  if #fields == 0 then return found end
  for i, held in ipairs(redis.call('HMGET', budget_prefix .. organization, unpack(fields))) do
    if held then found[#found + 1] = projects[i] end
  end
  return found
end

-- Looks at all projects of an organisation: after a change, in a new period, and each minute, as the job that found no room may
-- be gone. Returns whether some came in.
function parked.look(organization)
  local came, wait = false, nil
  for _, project in ipairs(waiting_projects(organization)) do
    if amounts_of(organization, named_for('held', project)).is_there then
      local fitting, no_more = parked.let_in(organization, project)
      if fitting == 0 then fitting, no_more = let_first_in(organization, project, 1) end
      if no_more then drop_hold(organization, project) end
      came = came or fitting > 0
      if not no_more then wait = fitting == LET_IN_MAX and 0 or wait or LOOK_MS end
    end
  end
  if wait then parked.look_later(organization, wait) else redis.call('ZREM', held_organizations, organization .. ' *') end
  return came
end
