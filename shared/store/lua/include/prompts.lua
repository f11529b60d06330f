-- Removes the prompt of a job that ended from its record, in each of its forms. What is left is what a completed job's record
-- keeps. `prompt_gone` has its bytes, for estimates.

-- Members of a specification, and what is left of them.
local TEXTS = {prompt = '"prompt":""', parameters = '', turns = '', instructions = '', responseSchema = ''}

-- The position behind a string of JSON that begins at `at`. A quote after an odd number of backslashes does not end it.
local function behind_string(text, at)
  repeat
    at = string.find(text, '"', at + 1, true)
    local first = at
    while string.sub(text, first - 1, first - 1) == '\\' do first = first - 1 end
  until (at - first) % 2 == 0
  return at + 1
end

-- The position behind any value.
local function behind_value(text, at)
  local depth = 0
  while true do
    local found, _, mark = string.find(text, '(["%[%]{},])', at)
    at = found + 1
    if mark == '"' then
      at = behind_string(text, found)
    elseif mark == '{' or mark == '[' then
      depth = depth + 1
    elseif depth == 0 then
      return found
    elseif mark ~= ',' then
      depth = depth - 1
    end
    if depth == 0 and mark ~= ',' then return at end
  end
end

-- The specification without its texts, and the prompt as JSON. Decoded and encoded again, numbers and empty lists of the
-- customer's metadata would change.
local function without_texts(spec)
  local members, prompt, at, is_response = {}, nil, 2, false
  while string.sub(spec, at, at) == '"' do
    local name_ends = behind_string(spec, at)
    local ends = behind_value(spec, name_ends + 1)
    local name = string.sub(spec, at + 1, name_ends - 2)
    -- A response shows its schema for as long as it lives.
    local stays = not TEXTS[name] or name == 'responseSchema' and is_response
    local kept = stays and string.sub(spec, at, ends - 1) or TEXTS[name]
    is_response = is_response or name == 'response'
    if name == 'prompt' then prompt = string.sub(spec, name_ends + 1, ends - 1) end
    if kept ~= '' then members[#members + 1] = kept end
    at = ends + 1
  end
  return '{' .. table.concat(members, ',') .. '}', prompt
end

local function forget_prompt(job)
  local record = job_prefix .. job
  local spec = redis.call('HGET', record, 'spec')
  if not spec then return end
  local bare, prompt = without_texts(spec)
  if bare == spec then return end
  redis.call('HSET', record, 'spec', bare, 'prompt_gone', #cjson.decode('[' .. prompt .. ']')[1])
end
