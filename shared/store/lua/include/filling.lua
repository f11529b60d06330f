-- Fills slots that are still free when the line is empty: from the backlogs of the organisations whose entries were
-- delivered, in proportion to those entries.
-- INCLUDE lease organizations backlog rank_slots meeting delivering rows shares

-- By organisation: jobs that it got out of its backlog in this call, for each of its entries.
local filled = {}

-- Moves jobs of the backlogs to the line for free slots, one of each organisation in turn. Returns how many.
local function pop_for(sources, left, total, unshared)
  local popped, longest, wanted = {}, 0, left
  for i, organization in ipairs(sources) do
    local share = math.min(math.max(math.floor(left * entries_met[organization] / total), 1), wanted)
    local room = math.min(share, (room_for(organization, #sources > 1 and not unshared)))
    local ok, jobs = room > 0, {}
    if ok then ok, jobs = pcall(pop, organization, room) end
    popped[i] = ok and jobs or {}
    -- An organisation at its share of the slots is asked again when the others have no more jobs.
    if #popped[i] < room or room <= 0 and (#sources == 1 or unshared) then empty[organization] = true end
    wanted, longest = wanted - #popped[i], math.max(longest, #popped[i])
    filled[organization] = (filled[organization] or 0) + #popped[i] / entries_met[organization]
  end
  local count = 0
  for row = 1, longest do
    for i, organization in ipairs(sources) do
      if popped[i][row] then
        add_entry('q', popped[i][row][1], organization)
        count = count + 1
      end
    end
  end
  return count
end

local function sources_left()
  local sources, total = {}, 0
  for _, organization in ipairs(met) do
    if not empty[organization] and counts_of(organization).waiting > 0 then
      sources[#sources + 1] = organization
      total = total + entries_met[organization]
    end
  end
  return sources, total
end

local function take_from_backlogs(target)
  local unshared = false
  while #claims < target and steps > 0 do
    local sources, total = sources_left()
    if #sources == 0 then return end
    local count = pop_for(sources, target - #claims, total, unshared)
    -- No slot stays free while any job may run (I11).
    unshared = count == 0
    steps, delivered = steps - math.max(count, 1), delivered + count
    if count > 0 then take('q', read(count, line).q or {}, true) end
  end
end

-- Starts jobs of organisations above their share of the slots: no other may run now.
local function take_deferred(target)
  local left = deferred
  deferred = {}
  for _, candidate in ipairs(left) do
    if #claims < target then
      empty[candidate.f.org] = false
      begin_safely(candidate)
    else
      pcall(send_back, candidate)
    end
  end
end

-- Those that got least come first: what the free slots are not divisible by goes to others in the next call.
local function order_of_return()
  local order, position = {}, {}
  for i, organization in ipairs(met) do order[i], position[organization] = organization, i end
  table.sort(order, function(one, other)
    local least, more = filled[one] or 0, filled[other] or 0
    if least ~= more then return least < more end
    return position[one] < position[other]
  end)
  return order
end

-- Returns whether entries were added to the line.
local function refill_all()
  local came = false
  for _, organization in ipairs(order_of_return()) do
    note(organization, 'placed', -vacant[organization])
    vacant[organization] = 0
    came = refill(organization) or came
  end
  return came
end

local function deliver_waiting(wanted)
  local target = #claims + wanted
  deliver_line(target)
  if exhausted then take_from_backlogs(target) end
  local sent_back = #deferred > 0
  take_deferred(target)
  if sent_back and exhausted then take_from_backlogs(target) end
  take_deferred(0)
  return refill_all() or not exhausted and wanted > 0 or sent_back
end
