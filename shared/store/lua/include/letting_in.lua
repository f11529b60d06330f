-- Lets in organisations, and withheld jobs of their projects, that were held and may run.
-- INCLUDE backlog budgets organizations quotas withholding saving_budgets

local freed = {}

-- Notes that a reservation of an organisation ended: it may have room again.
local function note_freed(organization)
  if amounts_of(organization, 'held').is_there then freed[organization] = true end
end

-- Lets an organisation in again that was held, if it may run. Returns as refill.
local function let_in(organization)
  if is_held(organization) or redis.call('ZREM', held_organizations, organization) == 0 then return false end
  return refill(organization)
end

-- Lets in withheld jobs of projects of which a reservation ended. Returns as refill.
local function let_withheld_in()
  local came = false
  for organization, projects in pairs(budget_cache.freed) do
    local count = 0
    for project in pairs(projects) do count = count + let_project_in(organization, project) end
    came = count > 0 and refill(organization) or came
  end
  budget_cache.freed = {}
  save_budgets()
  return came
end

-- Lets in those that were noted, after all that a transition writes. Returns as refill.
local function let_freed_in()
  local known_room, came = pcall(let_withheld_in)
  came = not known_room or came
  for organization in pairs(freed) do
    local ok, some = pcall(let_in, organization)
    came = not ok or some or came
  end
  save_counts()
  return came
end
