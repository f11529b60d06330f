-- Bounds of what an attempt may cost at a gate. bounds: of each gate `<gate> <nano-USD per token read> <per token written> <most
-- tokens that it writes> <tokens of thought beside a job's own limit, by effort: none low medium high>`.

local EFFORTS = {'high', 'medium', 'low'}
-- Instructions that a prompt is sent with, in tokens; and the most that an unknown gate writes.
local BRIEFING, OUTPUT_MOST = 256, 128000
local BOUND = '^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)$'
local known_bounds, dearest

local function parse_bound(row)
  local read, written, most, none, small, medium, large = string.match(row or '', BOUND)
  if not read then return end
  return {read = tonumber(read), written = tonumber(written), most = tonumber(most),
    thoughts = {none = tonumber(none), low = tonumber(small), medium = tonumber(medium), high = tonumber(large)}}
end

-- A gate that this caller does not know is taken for the dearest.
local function find_bound(name)
  if not known_bounds then
    known_bounds, dearest = {}, {read = 0, written = 0, most = OUTPUT_MOST, thoughts = {none = 0, low = 0, medium = 0, high = 0}}
    for known, row in string.gmatch(bounds, '(%S+) (%S+ %S+ %d+ %d+ %d+ %d+ %d+)') do
      local found = parse_bound(row)
      known_bounds[known] = found
      dearest.read, dearest.written = math.max(dearest.read, found.read), math.max(dearest.written, found.written)
    end
  end
  return known_bounds[name] or dearest
end

local function effort_of(spec)
  for _, effort in ipairs(EFFORTS) do
    if string.find(spec, '"effort":"' .. effort .. '"', 1, true) then return effort end
  end
  return 'none'
end

-- Nano-USD that one attempt costs at most: a token for each byte of the specification, and the output limit.
local function bound_at(found, spec, max_tokens)
  local own, written = tonumber(max_tokens or ''), found.most
  if own then written = math.min(own + found.thoughts[effort_of(spec)], found.most) end
  return math.ceil((#spec + BRIEFING) * found.read + written * found.written)
end

local function bound_of(name, spec, max_tokens) return bound_at(find_bound(name), spec, max_tokens) end

-- Nano-USD of text that was lost with workers, as the next one adds it (`spending.lua`).
local function lost_cost(name, spec, lost)
  if lost == 0 then return 0 end
  local found = find_bound(name)
  return math.ceil(math.ceil(#spec / 4) * found.read + math.ceil(lost / 4) * found.written)
end
