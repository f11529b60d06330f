-- Counts jobs that ended, and their usage: a line for each in one list (`ledger`), all lines of a call in one command.
-- At FOLD_AT lines they are summed up: in `counts`, in a hash per organisation and day (`usage`), and in histograms of
-- durations. So a job costs about one command, and a day of an organisation a few fields.
-- INCLUDE ending ended_lines organizations folding settling saving_budgets retention

local booked, booked_as, booked_for, booked_used = {}, {}, {}, 0
local lasted = {}

-- Adds a line for an end, once, after it was written to the record; status '-': counted before. used: `<organization> <project>
-- <provider:model> <input> <output> <cached> <nano-USD or -> <estimated 0|1>`; empty: nothing was used.
local function book(status, ended_ms, used, organization)
  local day = string.format('%d', math.floor(tonumber(ended_ms) / 86400000))
  booked[#booked + 1] = status .. ' ' .. day .. ' ' .. (used ~= '' and used or organization)
  if used ~= '' then booked_used = booked_used + 1 end
  booked_as[#booked_as + 1], booked_for[#booked_for + 1] = status, organization
end

-- Notes how long the last attempt of an end waited and ran, in ms. Beside the lines there is one with all of a call's, hour by
-- hour, without a blank: releases that do not know it pass over it.
local function note_durations(ended_ms, waited, ran)
  local hour = math.floor(tonumber(ended_ms) / 3600000)
  lasted[hour] = lasted[hour] or {}
  table.insert(lasted[hour], waited .. '/' .. ran)
end

-- Writes the lines, as the last step of a call. If the ledger cannot be written, jobs still end and are still counted.
local function close_books()
  local folded = {}
  if #booked > 0 then
    for hour, pairs_of_ms in pairs(lasted) do
      booked[#booked + 1] = string.format('durations:%d:', hour) .. table.concat(pairs_of_ms, ',')
    end
    local ok, length = pcall(redis.call, 'RPUSH', ledger, unpack(booked))
    if not ok then
      for i, status in ipairs(booked_as) do
        if ENDS[status] then
          count(status)
          note(booked_for[i], 'running', -1)
        end
      end
      if booked_used > 0 then tally.unbooked = (tally.unbooked or 0) + booked_used end
    else
      folded = length >= FOLD_AT and fold() or {}
    end
    forget_ended()
  end
  if is_made('ending') then count_ended() end
  save_counts()
  if next(known) then keep_as_settled(folded) end
  -- Now that the counts are known, this asks for no more of them.
  if #folded > 0 then note_unsettled(folded) end
  if is_made('budgets') then save_budgets() end
end
