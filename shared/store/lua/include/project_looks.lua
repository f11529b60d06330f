-- Looks at the projects of an organisation whose jobs are withheld.
-- INCLUDE budgets withholding policies

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
local function look_at_projects(organization)
  local came, must_look, wait = false, false, nil
  for _, project in ipairs(waiting_projects(organization)) do
    if amounts_of(organization, named_for('held', project)).is_there then
      local count, some_wait = let_project_in(organization, project)
      if count == 0 and some_wait then count, some_wait = let_first_withheld_in(organization, project, 1) end
      came = came or count > 0
      must_look = must_look or some_wait
      if some_wait then wait = wait or count == LET_IN_MAX and 0 or nil end
    end
  end
  if must_look then look_at_withheld_later(organization, wait) else redis.call('ZREM', held_organizations, organization .. ' *') end
  return came
end
