-- Asks gates for room, for a call of an organisation, and reserves its share.
-- INCLUDE now gate_states own_gates gates queues serving token_clocks token_limits

local OUTPUT_TOKENS, OWN_LIMIT = 1000, 'organization_limit'

-- Tokens to reserve for a call: four bytes are about one token, and the reply may use all of max_tokens. At most the prompt
-- or a tenth of the minute, whichever is more: what is used above it is charged when the call ends.
local function need_of(per_minute, spec_length, max_tokens)
  local prompt = math.ceil(spec_length / 4)
  local all = prompt + (tonumber(max_tokens or '') or OUTPUT_TOKENS)
  return math.max(prompt, math.min(all, math.floor(per_minute / 10)))
end

-- The smaller one of two limits; 0: no limit.
local function tighter(limit, other)
  if limit == 0 or other == 0 then return math.max(limit, other) end
  return math.min(limit, other)
end

-- Whether jobs that wait for a gate go before a new one, unless it may test a gate that they may not: those of organisations
-- that may use the gate, and those of its own.
local function is_behind(name, organization, limit, own)
  if limit and (not has_queue(name) or gate(name).blocked_until > now) then return false end
  if limit and has_ready(name) then return true end
  return own > 0 and redis.call('EXISTS', queue_key(name, organization), queue_key(FLEET, organization)) > 0
end

-- Asks the gates of a chain in order, up to `last` if it is given. Returns the first that has room: its name, 0, the reasons
-- of those before, tokens to reserve. If none has: nil, ms until one has (nil: this worker has none of them), the reasons,
-- the last reason. A slow start is waited for: it is no reason for a fallback. first_come: jobs that wait for a gate go
-- before this one. without_room: gates with jobs that need more room than there is.
local function ask_chain(chain_text, organization, need, first_come, last, without_room)
  local soonest, reasons, why, own = nil, {}, nil, token_limit_of(organization)
  for name in string.gmatch(chain_text, '%S+') do
    if not has_gate(name) then
      why = NOT_HERE
    else
      local limit, wait = gate_limits[name], 0
      local per_minute = tighter(limit and limit.tpm or 0, own)
      local tokens = per_minute > 0 and need(per_minute) or 0
      wait, why = wait_of(name, tokens, organization)
      local own_wait = own > 0 and clock_wait(name, organization, own, tokens) or 0
      if own_wait > wait then wait, why = own_wait, OWN_LIMIT end
      local behind = wait == 0 and first_come and is_behind(name, organization, limit, own)
      if wait == 0 and not behind and not (without_room and without_room[name]) then return name, 0, reasons, tokens end
      soonest = math.min(soonest or math.huge, math.max(wait, 1))
      if behind or why == 'slow_start' or name == last then break end
    end
    reasons[#reasons + 1] = name .. ' ' .. why
  end
  return nil, soonest, reasons, why
end

-- Reserves a call's share of a gate that has room, and of its organisation's tokens there.
local function admit_call(name, tokens, organization)
  admit(name, tokens, organization)
  charge_clock(name, organization, token_limit_of(organization), tokens)
end
