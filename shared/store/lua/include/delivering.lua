-- Delivers entries to this consumer: of the line, then, while slots are free, of the backlogs of the organisations that it
-- met there, in proportion to the entries it met.
-- INCLUDE adopting lease backlog shares

local letters = {[requeued] = 'a', [suspect] = 's', [isolated] = 'i', [high] = 'h', [normal] = 'n', [low] = 'l', [line] = 'q'}
-- Organisations that were met in the line, in order; by organisation: entries that were met, those not taken off its count
-- yet, and whether its backlog has no more.
local met, entries_met, vacant, empty = {}, {}, {}, {}
local exhausted, deferred, taken = false, {}, {s = 0, i = 0}
-- Entries that one call looks at, at most, beyond those wanted: no script is longer for what is throttled or over.
local STEPS = 64

local function note_met(organization, token, created)
  if not entries_met[organization] then met[#met + 1], entries_met[organization], vacant[organization] = organization, 0, 0 end
  entries_met[organization] = entries_met[organization] + 1
  line_seen = line_seen + 1
  -- A job that stands in the line since its submit left no backlog behind, most likely: then its place is taken off the count
  -- at once. For another one the next in the backlog makes up.
  if created == string.match(token, '^%a(%d+)') then
    note(organization, 'placed', -1)
  else
    vacant[organization] = vacant[organization] + 1
  end
end

-- Back to where it came from. One that is held leaves the line; one that is over its share of the slots goes to its end.
local function send_back(candidate, is_held)
  local token, job, f = candidate.token, candidate.job, candidate.f
  local letter, entry = string.sub(token, 1, 1), nil
  note_return(f)
  if is_held and letter == 'q' then
    entry = add_to_backlog(f.org, job, f.place or place_from(token, f.spec, f.created), f.deadline)
  else
    entry = add_entry(letter, job, f.org)
    if letter == 'q' then note(f.org, 'placed', 1) end
  end
  redis.call('HSET', job_prefix .. job, 'entry', entry)
  release(token)
end

local function begin_safely(candidate)
  local ok = pcall(begin, candidate.token, candidate.job, candidate.f)
  -- Recovery finds it by its entry.
  if not ok and candidate.f.entry == 'b' then redis.pcall('HSET', job_prefix .. candidate.job, 'entry', candidate.token) end
end

local function examine_all(letter, entries, is_new, repeated)
  local candidates, starting = {}, {}
  for _, entry in ipairs(entries) do
    local token, fields = letter .. entry[1], entry[2] or {}
    local job, whose = fields[2] or '', fields[4]
    local ok, f, ran = pcall(examine, token, job, whose, is_new and 'b' or token, repeated)
    f = ok and f or nil
    if letter == 'q' and not (is_new or repeated or ran) and whose then note_met(whose, token, f and f.created) end
    if f then
      note_start(letter, f, whose)
      if not starting[f.org] then starting[#starting + 1], starting[f.org] = f.org, 0 end
      starting[f.org] = starting[f.org] + 1
      candidates[#candidates + 1] = {token = token, job = job, f = f}
    end
  end
  return candidates, starting
end

-- Takes entries that were delivered. A corrupt record must not cost its neighbours their answer: what fails here stays pending
-- and is met by recover.
local function take(letter, entries, is_new, repeated)
  local candidates, starting = examine_all(letter, entries, is_new, repeated)
  for _, organization in ipairs(starting) do save(organization) end
  local rooms, is_held = {}, {}
  for _, organization in ipairs(starting) do
    rooms[organization], is_held[organization] = room_among(organization, starting[organization], met, exhausted)
  end
  for _, candidate in ipairs(candidates) do
    local organization = candidate.f.org
    if rooms[organization] > 0 or letter ~= 'q' and not is_held[organization] then
      rooms[organization] = rooms[organization] - 1
      begin_safely(candidate)
    elseif is_held[organization] then
      pcall(send_back, candidate, true)
    else
      deferred[#deferred + 1] = candidate
    end
  end
  return #entries
end

-- A job of the commit before joins its organisation's backlog.
local function join(token, job)
  local f = read_entry(job)
  if foreign(f.v, f.state) then return end
  if f.entry ~= token or not LIVE[f.state] then return release(token) end
  note_waiting(f.org, 1, #f.spec)
  local place = f.place or place_from(token, f.spec, f.created)
  if f.state == 'processing' then
    replace_entry(job, f)
  else
    redis.call('HSET', job_prefix .. job, 'place', place, 'entry', enter(f.org, job, place, f.losses, f.deadline))
  end
  release(token)
end

-- Answers how many entries came.
local function read(count, ...)
  local arguments, came = {'XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', ...}, {}
  for _ = 1, select('#', ...) do arguments[#arguments + 1] = '>' end
  for _, found in ipairs(redis.call(unpack(arguments)) or {}) do came[letters[found[1]]] = found[2] end
  return came
end

local function deliver(letter, count)
  local entries = read(count, streams[letter])[letter]
  if entries then taken[letter] = taken[letter] + take(letter, entries) end
end

local steps
local asked_old = false

local function deliver_line(target)
  if not steps then steps, slots_wanted = target - #claims + STEPS, target - #claims end
  while #claims < target and steps > 0 and not exhausted do
    local wanted, came = target - #claims
    if asked_old then came = read(wanted, line) else came = read(wanted, line, requeued, high, normal, low) end
    asked_old = true
    local old = 0
    for _, letter in ipairs({'a', 'h', 'n', 'l'}) do
      for _, entry in ipairs(came[letter] or {}) do
        pcall(join, letter .. entry[1], entry[2] and entry[2][2] or '')
        old = old + 1
      end
    end
    local entries = came.q or {}
    exhausted = #entries < wanted and old == 0
    steps, delivered = steps - #entries, delivered + #entries
    take('q', entries)
  end
end

-- Jobs of the backlogs for free slots, one of each organisation in turn.
local function pop_for(sources, left, total, unshared)
  local popped, longest, wanted = {}, 0, left
  for i, organization in ipairs(sources) do
    local share = math.min(math.max(math.floor(left * entries_met[organization] / total), 1), wanted)
    local room = math.min(share, (room_for(organization, #sources > 1 and not unshared)))
    popped[i] = room > 0 and pop(organization, room) or {}
    -- One that has reached its share of the slots is asked again when the others have no more.
    if #popped[i] < room or room <= 0 and (#sources == 1 or unshared) then empty[organization] = true end
    wanted, longest = wanted - #popped[i], math.max(longest, #popped[i])
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
    -- No slot stays free while any job may run.
    unshared = count == 0
    steps, delivered = steps - math.max(count, 1), delivered + count
    if count > 0 then take('q', read(count, line).q or {}, true) end
  end
end

-- Those over their share of the slots run while nobody else may.
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

-- Answers whether the line has entries yet.
local function refill_all()
  local came = false
  for _, organization in ipairs(met) do
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
