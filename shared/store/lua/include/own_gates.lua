-- Knows the gates that the caller's worker has, in its order (`own_gates`), those of them that jobs without a chain may pass
-- (`in_chain`), and their limits: requests and tokens a minute, 0: none.
-- INCLUDE settled

local own_gates, is_own, in_chain = {}, {}, {}
local gate_limits = {}

local function note_own(name)
  if not is_own[name] then own_gates[#own_gates + 1], is_own[name] = name, true end
end

for name in string.gmatch(chain, '%S+') do
  in_chain[name] = true
  note_own(name)
end
for name, rpm, tpm in string.gmatch(limits, '(%S+) (%d+) (%d+)') do
  gate_limits[name] = {rpm = tonumber(rpm), tpm = tonumber(tpm)}
  note_own(name)
end

-- Limits of operators go before those of the worker. To call after each `note_settled`.
local function note_limits()
  for name, settled in pairs(settled_limits) do
    local own = gate_limits[name] or {rpm = 0, tpm = 0}
    gate_limits[name] = {rpm = settled.rpm or own.rpm, tpm = settled.tpm or own.tpm}
  end
end

note_limits()

-- A worker that names nothing has everything.
local has_all = #own_gates == 0
local same_gates = table.concat(own_gates, ' ')
local function has_gate(name) return has_all or is_own[name] == true end
