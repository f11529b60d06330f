-- Withholds jobs whose project has no room in its budget: in the backlog of their organisation, where no job is taken from. The
-- word `number@<project>` of its policy, n, says that they have n * BAND added to their place. So all that knows of the backlog
-- (counts, cancels, deadlines, deletion) knows of them. `held_organizations` has `<org> *`: when to look at them, in ms.
-- PREFIX backlog
-- INCLUDE budgets clock organizations policies

-- Above every place, and more than three ranks of places; the order of what is withheld is right to 128 us.
local BAND = 1e16
-- Jobs that one look, or one end, lets in of a project at most; a project that waits is looked at each minute.
local LET_IN_MAX, LOOK_MS = 64, 60000
-- The lowest score of a withheld job.
local WITHHELD_FROM = BAND

-- The project of a job, if it has a budget of its own.
local function budgeted_project_of(organization, spec)
  if not policy_of(organization).projects then return nil end
  local project = string.match(spec, '^{"projectId":"([^"\\]+)"')
  if not project then
    local ok, decoded = pcall(cjson.decode, spec)
    project = ok and decoded.projectId or ''
  end
  return has_budget(organization, project) and project or nil
end

-- What is added to the places of the organisation's projects, the first: nothing.
local function withheld_offsets(organization)
  local offsets = {0}
  for word, number in pairs(policy_of(organization).projects and policy_of(organization) or {}) do
    if string.find(word, '^number@') then offsets[#offsets + 1] = number * BAND end
  end
  return offsets
end

local function withheld_place(organization, project, place)
  return string.format('%.0f', policy_of(organization)[named_for('number', project)] * BAND + tonumber(place))
end

local function has_none_withheld(organization, number)
  local from, to = string.format('%.0f', number * BAND), string.format('(%.0f', (number + 1) * BAND)
  return redis.call('ZCOUNT', backlog_prefix .. organization, from, to) == 0
end

-- only: `NX`: unless a look is due anyway.
local function look_at_withheld_later(organization, wait, only)
  local at = string.format('%.0f', now_ms() + (wait or LOOK_MS))
  redis.call('ZADD', held_organizations, only or 'GT', at, organization .. ' *')
end

-- Lets in the first jobs of a project; those behind them wait on. Returns how many came in, and whether some wait.
local function let_first_withheld_in(organization, project, most)
  local key, offset = backlog_prefix .. organization, policy_of(organization)[named_for('number', project)] * BAND
  local found = redis.call('ZRANGEBYSCORE', key, string.format('%.0f', offset), string.format('(%.0f', offset + BAND),
    'WITHSCORES', 'LIMIT', 0, most + 1)
  local count = math.min(#found / 2, most)
  for i = 1, 2 * count, 2 do
    redis.call('ZADD', key, 'XX', string.format('%.0f', tonumber(found[i + 1]) - offset), found[i])
  end
  if count > 0 and counts_of(organization).ranked == 0 then note(organization, 'ranked', 1) end

  local next_score = found[2 * most + 2]
  if not next_score then
    drop_hold(organization, project)
    return count, false
  end
  local needed = amounts_of(organization, named_for('held', project))[1]
  hold_for(organization, needed, tonumber(next_score) - offset, project)
  return count, true
end

-- Lets in as many as there is room for, if each needs as much as the first. Returns the same.
local function let_project_in(organization, project)
  local needed = amounts_of(organization, named_for('held', project))
  local room = room_of(organization, nil, project)
  if not needed.is_there or room < needed[1] then return 0, needed.is_there end
  return let_first_withheld_in(organization, project, math.min(math.max(math.floor(room / math.max(needed[1], 1)), 1), LET_IN_MAX))
end

-- Whether a job must wait behind withheld ones of its project. Scores are compared as they are rounded: one that was let in is not
-- behind itself.
local function is_behind_withheld(organization, project, place)
  local held, number = amounts_of(organization, named_for('held', project)), policy_of(organization)[named_for('number', project)]
  local rounded = tonumber(withheld_place(organization, project, place)) - number * BAND
  if not held.is_there or rounded <= held[2] then return false end
  if is_over_budget(organization, project) or not has_none_withheld(organization, number) then return true end
  drop_hold(organization, project)
  return false
end
