-- Makes jobs claimable, the only way to: a job gets an entry in the line if its organisation has room there (as many entries
-- as its weight), else it goes to the organisation's backlog, a sorted set by place. `backlogs` has the organisations by the
-- time (ms) at which to check their deadlines.
-- INCLUDE lease clock organizations policies quotas places rank_slots budgets suspect_line

-- Reserves an entry in the line. Writes the changes that were noted before, unless the caller does later: then only with the
-- first of a call. Returns whether there is room.
local function reserve_entry(organization, is_saved_later)
  local state = known[organization]
  local room = not state or state.placed < weight_of(organization)
  if room then note(organization, 'placed', 1) end
  state = is_saved_later and counts_of(organization) or save(organization)
  if room and (state.placed > weight_of(organization) or is_held(organization)) then
    note(organization, 'placed', -1)
    room = false
  end
  return room
end

-- Has an organisation checked soon that is held for a job behind this one, which may cost less.
local function check_again(organization, place)
  if has_budget(organization) and tonumber(place) < amounts_of(organization, 'held')[2] then
    check_soon(organization)
  end
end

-- deadline: nil if `backlogs` has an earlier one of this organisation.
local function add_to_backlog(organization, job, place, deadline)
  redis.call('ZADD', backlog_prefix .. organization, place, job)
  if deadline then redis.call('ZADD', backlogs, 'LT', deadline, organization) end
  if not is_normal(place) and counts_of(organization).ranked == 0 then note(organization, 'ranked', 1) end
  if is_held(organization) then
    note_held(organization)
    check_again(organization, place)
  end
  return 'b'
end

-- Makes a job claimable that is counted as waiting. Returns its new entry.
local function enter(organization, job, place, losses, deadline)
  local letter = queue_after(losses)
  if letter == 's' then return enter_suspect(organization, job, place, deadline) end
  if letter ~= 'q' then return add_entry(letter, job, organization) end
  if reserve_entry(organization) then return add_entry('q', job, organization) end
  return add_to_backlog(organization, job, place, deadline)
end

-- Moves an organisation's next job to the line. After a failure it is in the backlog again.
local function place_next(organization)
  local found = pop(organization, 1)[1]
  if not found then return false end
  local ok, entry = pcall(add_entry, 'q', found[1], organization)
  if not ok then
    redis.call('ZADD', backlog_prefix .. organization, found[2], found[1])
    return false
  end
  note(organization, 'placed', 1)
  redis.call('HSET', job_prefix .. found[1], 'entry', entry)
  return true
end

local function fill_up(organization)
  local came = false
  while counts_of(organization).waiting > 0 and counts_of(organization).placed < weight_of(organization) do
    if is_held(organization) then
      note_held(organization)
      break
    end
    if not place_next(organization) then break end
    came = true
  end
  return came
end

-- Fills up an organisation's entries in the line. It fails alone, as a transition stands without it: then the next promotion
-- tries again. Returns whether workers must be woken.
local function refill(organization)
  local ok, came = pcall(fill_up, organization)
  if not ok then redis.pcall('ZADD', held_organizations, string.format('%d', now_ms()), organization) end
  return not ok or came
end
