-- Lists the organisations that have budgets.

local function budget_holders()
  local flat, found = redis.call('HGETALL', policies), {}
  for i = 1, #flat, 2 do
    local words = ' ' .. flat[i + 1]
    if string.find(words, ' month=%d') or string.find(words, ' day=%d') then found[#found + 1] = flat[i] end
  end
  return found
end
