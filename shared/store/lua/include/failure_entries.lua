-- Writes the entry of a job that failed or was cancelled, one text: `<job> <organisation> <bytes> <project> <user>
-- <provider:model> <error>`, `-` where there is none.
-- ARGV chain

-- Bytes of a record beside its texts, about.
local RECORD_BYTES = 512

local function index_word(text)
  text = type(text) == 'string' and string.gsub(text, '%s', '_') or ''
  return text ~= '' and text or '-'
end

-- Ids are printable: only quotes and backslashes are escaped in them.
local function id_word(text) return index_word(text and string.gsub(text, '\\(.)', '%1')) end

local function describe_failure(job, organization, outcome)
  local f = redis.call('HMGET', job_prefix .. job, 'spec', 'brief', 'gate', 'route')
  local project, user = string.match(f[1] or '', '^{"projectId":"(.-)","userId":"(.-)","organizationId":"')
  local said = cjson.decode(f[2] or outcome)
  local gate = type(said.provider) == 'string' and said.provider .. ':' .. (said.model or '') or f[3]
    or string.match(f[4] or chain, '^%S+')
  local failure = type(said.error) == 'table' and said.error.type
  local bytes = #(f[1] or '') + #(f[2] or '') + #outcome + RECORD_BYTES
  return string.format('%s %s %d %s %s %s %s', job, organization, bytes, id_word(project), id_word(user), index_word(gate),
    index_word(failure)), bytes
end
