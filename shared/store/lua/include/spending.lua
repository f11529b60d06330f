-- Computes usage and cost of a job that ends without a worker: earlier attempts as they were recorded, and the text that
-- was lost with its workers, estimated as the next worker would (`usage.py`).
-- prices: `<gate> <nano-USD per input token> <per output token>` of each gate whose price is known.

local BYTES_PER_TOKEN = 4

local function price_of(name)
  for known, input, output in string.gmatch(prices, '(%S+) (%S+) (%S+)') do
    if known == name then return tonumber(input), tonumber(output) end
  end
end

local function add_lost(total, name, prompt_bytes, lost)
  local input, output = math.ceil(prompt_bytes / BYTES_PER_TOKEN), math.ceil(lost / BYTES_PER_TOKEN)
  local input_price, output_price = price_of(name)
  total.input, total.output, total.estimated = total.input + input, total.output + output, true
  total.cost = input_price and total.cost and total.cost + math.floor(input * input_price + output * output_price + 0.5)
end

local function total_of(spent)
  if not spent then return {input = 0, output = 0, cached = 0, estimated = false, cost = 0} end
  local recorded = cjson.decode(spent)
  local used = recorded.usage
  return {input = used.inputTokens, output = used.outputTokens, cached = used.cachedTokens, estimated = used.estimated,
    reasoning = used.reasoningTokens, cost = tonumber(recorded.cost)}
end

-- The line of a job that was paid for and whose record cannot be read: its cost is unknown, and counted as such.
local function unknown_spending(organization, name, spec)
  local project = string.match(spec or '', '^{"projectId":"([^"\\%c ]+)"') or 'other'
  return string.format('%s %s %s 00 0 0 - 1', tostring(organization or '-'), project, name or ':')
end

-- Adds usage and cost to `outcome`, a table, and returns the line for the ledger. lost: bytes of text that are in no sum
-- yet. A job whose record cannot be read still ends. Also returns the record's `reserved`.
local function add_spending(job, organization, outcome, lost)
  local f, name
  local ok, line = pcall(function()
    f = redis.call('HMGET', job_prefix .. job, 'spec', 'spent', 'gate', 'route', 'reserved', 'prompt_gone')
    name = f[3] or string.match(f[4] or chain, '^%S+')
    if not name or not f[2] and lost == 0 then return '' end
    local spec, total = cjson.decode(f[1]), total_of(f[2])
    if lost > 0 then add_lost(total, name, #spec.prompt + tonumber(f[6] or 0), lost) end
    outcome.provider, outcome.model = string.match(name, '^([^:]*):?(.*)$')
    outcome.usage = {inputTokens = total.input, outputTokens = total.output, cachedTokens = total.cached,
      estimated = total.estimated, reasoningTokens = total.reasoning}
    -- Written with 14 digits: exact to the nano below 100,000 USD.
    outcome.costUsd = total.cost and total.cost / 1e9
    return string.format('%s %s %s 0%.0f %.0f %.0f %s %d', organization, spec.projectId, name, total.input, total.output,
      total.cached, total.cost and string.format('%.0f', total.cost) or '-', total.estimated and 1 or 0)
  end)
  if not ok then line = f and unknown_spending(organization, name, f[1]) or '' end
  return line, f and f[5] or nil
end
