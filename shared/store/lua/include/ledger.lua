-- Counts jobs that ended, and what they used: a line for each in one list (`ledger`), all lines of a call in one command.
-- A list that grew long is summed up: into `counts`, and into a hash per organisation and day (`usage`). So a job costs
-- about one command, and a day of an organisation a few fields.
-- INCLUDE ending ended_lines organizations folding

local booked, booked_as, booked_for, booked_used = {}, {}, {}, 0

-- Once for every end, after the record says so; status '-': it was counted before. used: `<organization> <project>
-- <provider:model> <input> <output> <cached> <nano-USD or -> <estimated 0|1>`; empty: nothing was used.
local function book(status, ended_ms, used, organization)
  local day = string.format('%d', math.floor(tonumber(ended_ms) / 86400000))
  booked[#booked + 1] = status .. ' ' .. day .. ' ' .. (used ~= '' and used or organization)
  if used ~= '' then booked_used = booked_used + 1 end
  booked_as[#booked_as + 1], booked_for[#booked_for + 1] = status, organization
end

-- The last thing a call does. A ledger that cannot be written keeps no job from its end, nor from being counted.
local function close_books()
  if #booked > 0 then
    local ok, length = pcall(redis.call, 'RPUSH', ledger, unpack(booked))
    if not ok then
      for i, status in ipairs(booked_as) do
        if ENDS[status] then
          count(status)
          note(booked_for[i], 'running', -1)
        end
      end
      if booked_used > 0 then tally.unbooked = (tally.unbooked or 0) + booked_used end
    elseif length >= FOLD_AT then
      fold()
    end
    forget_ended()
  end
  count_ended()
  save_counts()
end
