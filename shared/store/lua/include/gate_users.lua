-- Keeps apart what organisations do to a gate: failures of one, and its long calls, must not keep others from it.
-- INCLUDE now gate_states

-- Times of users are noted again after NOTE_MS, and forgotten after ALONE_MS.
local NOTE_MS, ALONE_MS = 20000, 60000
-- Others wait for so much of a long call, at most.
local SHARED_MS = 1000

-- Whether a gate is blocked by failures of one organisation alone, and so for that one alone.
local function is_open_to_others(state) return state.why == 2 and state.failed_two == 0 and state.failed_by ~= NOBODY end

-- organization: nil: the one that waits for the shortest time, here and in debt_for.
local function is_blocked_for(state, organization)
  return state.blocked_until > now and (organization == state.failed_by or not is_open_to_others(state))
end

-- Notes a use. Returns whether it must be stored.
local function note_user(state, organization)
  for _, slot in ipairs({'user', 'other'}) do
    if state[slot] == organization then
      local is_old = state[slot .. '_at'] + NOTE_MS < now
      if is_old then state[slot .. '_at'] = now end
      return is_old
    end
  end
  local slot = state.user_at <= state.other_at and 'user' or 'other'
  if state[slot .. '_at'] + NOTE_MS >= now then return false end
  state[slot], state[slot .. '_at'] = organization, now
  return true
end

local function is_only_user(state, organization)
  local since = now - ALONE_MS
  return (state.user == organization or state.user_at < since) and (state.other == organization or state.other_at < since)
end

-- Notes a failure. Returns whether it may be the provider's: jobs of two organisations failed in a row, or none but this
-- one used the gate.
local function note_failure(state, organization)
  if organization == NOBODY or state.failed_by ~= NOBODY and state.failed_by ~= organization then state.failed_two = 1 end
  state.failed_by = organization
  return state.failed_two == 1 or is_only_user(state, organization)
end

-- Ms until the tokens that were reserved are there, for a call of this organisation.
local function debt_for(state, organization)
  local debt = state.tokens - now
  if organization == state.lent_to then return debt end
  return debt - math.min(state.lent, math.max(debt, 0))
end

-- Charges a call for its tokens, or for the difference to its reservation; ms: the time in which the gate passes as many.
-- What goes beyond SHARED_MS is lent: the organisation waits until it is paid back. Others do not wait for it, and pay it
-- back with twice their own tokens meanwhile.
local function charge(state, ms, organization)
  local lent = math.min(state.lent, math.max(state.tokens - now, 0))
  state.tokens = math.max(state.tokens, now) + ms
  if lent == 0 or organization == state.lent_to then
    state.lent_to, lent = organization, lent + math.max(ms - SHARED_MS, 0)
  else
    lent = math.max(lent - ms, 0)
  end
  state.lent = math.min(lent, math.max(state.tokens - now, 0))
end

-- The organisation that others go before, nil: none. After a failed probe it is the one whose job failed.
local function avoided_organization(state)
  if state.why == 2 then return state.failed_by ~= NOBODY and state.failed_by or nil end
  return math.min(state.lent, state.tokens - now) > 0 and state.lent_to or nil
end
