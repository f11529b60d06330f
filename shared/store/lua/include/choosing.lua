-- Which gate a delivered job passes.
-- INCLUDE now gate_states gates serving throttling

-- Why gates before `pass` in the chain were passed over: those that its queue did not know of failed the job.
local function reasons_before(chain_text, pass, passed_over)
  local reasons = {}
  for name in string.gmatch(chain_text, '%S+') do
    if name == pass then break end
    local why = string.match(',' .. passed_over .. ',', ',' .. string.gsub(name, '%p', '%%%0') .. ' ([^,]+),')
    local _, shut = wait_of(name, 0)
    why = why or not has_gate(name) and NOT_HERE or shut == 'rate_limited' and shut or 'unavailable'
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return table.concat(reasons, ',')
end

-- A gate that has room for a job, why those before it had none, and what was reserved there. Without one: nil, and how
-- long until one has (nil: this worker has none of its gates).
local function find_gate(f, letter)
  local chain_text = f.route or chain
  if chain_text == '' then return '', '', 0 end
  local pass, reserved_at, reserved, passed_over = string.match(f.pass or '', '^(%S+) (%d+) (%d+) (.*)$')
  -- A reservation is as old as calls may be late (gates.lua); after that it must be asked for again. Not by a job that runs
  -- alone: until a worker holds nothing its turn is long over, and it would go round for ever behind a busy gate. It goes
  -- now, and is reserved for a second time.
  local in_time = pass and now - tonumber(reserved_at) <= SLACK_MS
  if pass and has_gate(pass) and (in_time or letter == 'i')
    and (gate(pass).blocked_until <= now or gate(pass).probe == 1) then
    if not in_time then admit(pass, tonumber(reserved)) end
    return pass, reasons_before(chain_text, pass, passed_over), tonumber(reserved)
  end
  local name, wait, reasons, tokens = ask_chain(chain_text, function() return need_of(#f.spec, f.max_tokens) end, true)
  if not name then return nil, wait end
  admit(name, tokens)
  return name, table.concat(reasons, ','), tokens
end
