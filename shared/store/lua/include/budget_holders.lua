-- Lists the organisations that have budgets, or projects with budgets.

local function budget_holders()
  local flat, found = redis.call('HGETALL', policies), {}
  for i = 1, #flat, 2 do
    local words = ' ' .. flat[i + 1]
    for _, word in ipairs({' month=%d', ' day=%d', ' projects=%d'}) do
      if found[#found] ~= flat[i] and string.find(words, word) then found[#found + 1] = flat[i] end
    end
  end
  return found
end
