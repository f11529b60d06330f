-- The audit trail: an entry for each change of keys and settings, written by the script that makes the change.

-- organization: the one that the change is about. entry: JSON.
local function append_entry(organization, entry)
  redis.call('XADD', audit_trail, 'MAXLEN', '~', trail_length, '*', 'o', organization, 'e', entry)
end
