-- Removes the prompt of a job that ended from its record, in each of its forms. What is left is what a completed job's record
-- keeps. `prompt_gone` has its bytes, for estimates.

-- Members of a specification, and what is left of them.
local TEXTS = {prompt = '"prompt":""', parameters = '', turns = '', instructions = '', responseSchema = ''}

-- The position behind a string that begins at `at`, in JSON whose escapes are masked.
local function behind_string(masked, at) return string.find(masked, '"', at + 1, true) + 1 end

-- The position behind any value.
local function behind_value(masked, at)
  local depth = 0
  while true do
    local found, _, mark = string.find(masked, '(["%[%]{},])', at)
    at = found + 1
    if mark == '"' then
      at = behind_string(masked, found)
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
-- customer's metadata would change. Escapes are masked in one pass: a prompt may be full of quotes.
local function without_texts(spec)
  local masked = string.gsub(spec, '\\.', '__')
  local members, prompt, at, is_response = {}, nil, 2, false
  while string.sub(masked, at, at) == '"' do
    local name_ends = behind_string(masked, at)
    local ends = behind_value(masked, name_ends + 1)
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
