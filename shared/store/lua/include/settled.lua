-- Knows what operators settled while the fleet runs: words in a field of the hash of gates. `queue` or a gate's name: it is
-- paused; `<gate>=<rpm>,<tpm>`: its limits, `-`: that of the workers. The numbers before them are those of a gate without jobs,
-- for which older releases take the field.

local SETTLED, SETTLED_START, QUEUE = 'settled', '0 0 0 0 0 0 0 0 0 0 0 1 0', 'queue'
local paused, settled_limits = {}, {}

local function note_settled(text)
  for word in string.gmatch(text or '', '%S+') do
    local name, rpm, tpm = string.match(word, '^(.+)=([%d-]+),([%d-]+)$')
    if name then
      settled_limits[name] = {rpm = tonumber(rpm), tpm = tonumber(tpm)}
    else
      paused[word] = true
    end
  end
end

-- Whether a gate, or the queue, is paused: known once the gates are loaded.
local function is_paused(name) return paused[name] == true end
