-- Finds the gate that a delivered job passes.
-- INCLUDE now gate_states own_gates settled gate_users gates serving asking token_clocks token_limits

-- Reasons why gates before `pass` in the chain were passed over. For a gate that `passed_over` does not name, the job's own
-- call failed there.
local function reasons_before(chain_text, pass, passed_over)
  local reasons = {}
  for name in string.gmatch(chain_text, '%S+') do
    if name == pass then break end
    local why = string.match(',' .. passed_over .. ',', ',' .. string.gsub(name, '%p', '%%%0') .. ' ([^,]+),')
    local _, blocked_by = wait_of(name, 0)
    why = why or not has_gate(name) and NOT_HERE or blocked_by == 'rate_limited' and blocked_by or 'unavailable'
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return table.concat(reasons, ',')
end

-- Returns a gate that has room for a job, the reasons of those passed over, and the tokens reserved. Without one: nil, and
-- ms until one has room (nil: this worker has none of the job's gates).
local function find_gate(f, letter)
  local chain_text = f.route or chain
  if chain_text == '' then return '', '', 0 end
  local pass, reserved_at, reserved, passed_over = string.match(f.pass or '', '^(%S+) (%d+) (%d+) (.*)$')
  -- A reservation holds for as long as calls may be late (SLACK_MS); after that the gate must be asked again. Not for an
  -- isolated job: until a worker is idle its reservation has always expired, so behind a busy gate it would never run. It
  -- runs now, with a second reservation.
  local in_time = pass and now - tonumber(reserved_at) <= SLACK_MS
  if pass and has_gate(pass) and not is_paused(pass) and (in_time or letter == 'i')
    and (not is_blocked_for(gate(pass), f.org) or gate(pass).probe == 1) then
    if not in_time then admit(pass, tonumber(reserved), f.org) end
    return pass, reasons_before(chain_text, pass, passed_over), tonumber(reserved)
  end
  -- A job that was released and came too late has waited for its turn already, and its organisation gets its tokens back.
  if pass then charge_clock(pass, f.org, token_limit_of(f.org), -tonumber(reserved)) end
  local function need(per_minute) return need_of(per_minute, #f.spec, f.max_tokens) end
  local name, wait, reasons, tokens = ask_chain(chain_text, f.org, need, not pass)
  if not name then return nil, wait end
  admit_call(name, tokens, f.org)
  return name, table.concat(reasons, ','), tokens
end
