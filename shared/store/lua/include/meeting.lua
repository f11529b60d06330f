-- Takes entries that were delivered to this consumer: as many of each organisation as may start; the others are returned.
-- INCLUDE adopting lease organizations places backlog shares beginning delaying now suspect_line withholding

-- Organisations whose entries were delivered, in order; for each: how many entries, how many of them are not off its count
-- yet, and whether its backlog is empty.
local met, entries_met, vacant, empty = {}, {}, {}, {}
local exhausted, deferred, taken = false, {}, {s = 0, i = 0}
local function note_met(organization, token, created)
  if not entries_met[organization] then met[#met + 1], entries_met[organization], vacant[organization] = organization, 0, 0 end
  entries_met[organization] = entries_met[organization] + 1
  line_seen = line_seen + 1
  -- A job that was in the line since its submit has most likely no backlog behind it: its entry is taken off the count at
  -- once. The entry of another one is most likely made up for by the next in the backlog.
  if created == string.match(token, '^%a(%d+)') then
    note(organization, 'placed', -1)
  else
    vacant[organization] = vacant[organization] + 1
  end
end

-- Returns a job to where it waited. One that is held leaves the line; one above its share of the slots goes to its end. A suspect
-- that is held is checked again in two leases: its queue has no backlog, and it would be delivered at once. is_withheld: only its
-- project is.
local function send_back(candidate, by_cap, is_withheld)
  local token, job, f = candidate.token, candidate.job, candidate.f
  local letter, entry = string.sub(token, 1, 1), nil
  note_return(f)
  if by_cap and letter == 'q' then
    local place = f.place or place_from(token, f.spec, f.created)
    entry = add_to_backlog(f.org, job, is_withheld and withheld_place(f.org, f.project, place) or place, f.deadline)
    if is_withheld then check_withheld_later(f.org, nil, 'NX') end
  elseif by_cap then
    entry = delay_job(f.org, job, now + 2 * tonumber(lease_ms))
  else
    entry = add_entry(letter, job, f.org)
    if letter == 'q' then note(f.org, 'placed', 1) end
  end
  redis.call('HSET', job_prefix .. job, 'entry', entry)
  release(token)
end

local function begin_safely(candidate)
  local ok, held = pcall(begin, candidate.token, candidate.job, candidate.f)
  if ok and (held == 'held' or held == 'withheld') then return pcall(send_back, candidate, true, held == 'withheld') end
  -- Recover finds it by its entry.
  if not ok and candidate.f.entry == 'b' then redis.pcall('HSET', job_prefix .. candidate.job, 'entry', candidate.token) end
end

local function examine_all(letter, entries, is_new, repeated)
  local candidates, starting = {}, {}
  for _, entry in ipairs(entries) do
    local token, fields = letter .. entry[1], entry[2] or {}
    local job, whose = fields[2] or '', fields[4]
    local ok, f, ran = pcall(examine, token, job, whose, is_new and 'b' or token, repeated)
    f = ok and f or nil
    -- One that came from a backlog was never counted as placed.
    local is_placed = not (is_new or f and f.entry == 'b')
    if letter == 'q' and is_placed and not (repeated or ran) and whose then note_met(whose, token, f and f.created) end
    if f then
      -- One whose start failed is counted since its first delivery.
      if not repeated then note_start(letter, f, whose) end
      if not starting[f.org] then starting[#starting + 1], starting[f.org] = f.org, 0 end
      starting[f.org] = starting[f.org] + 1
      candidates[#candidates + 1] = {token = token, job = job, f = f}
    end
  end
  return candidates, starting
end

-- Takes entries that were delivered. A corrupt record must not cost the other entries their claims: one that fails stays
-- pending, and recover finds it.
local function take(letter, entries, is_new, repeated)
  local candidates, starting = examine_all(letter, entries, is_new, repeated)
  for _, organization in ipairs(starting) do save(organization) end
  local rooms, by_cap = {}, {}
  for _, organization in ipairs(starting) do
    rooms[organization], by_cap[organization] = room_among(organization, starting[organization], met, exhausted)
  end
  for _, candidate in ipairs(candidates) do
    local organization = candidate.f.org
    if rooms[organization] > 0 or letter ~= 'q' and not by_cap[organization] then
      rooms[organization] = rooms[organization] - 1
      begin_safely(candidate)
    elseif by_cap[organization] then
      pcall(send_back, candidate, true)
    else
      deferred[#deferred + 1] = candidate
    end
  end
  for _, entry in ipairs(letter == 's' and not repeated and entries or {}) do
    -- An entry of an older release names no organisation.
    if entry[2] and entry[2][4] then pcall(follow_suspect, entry[2][4]) end
  end
  return #entries
end
