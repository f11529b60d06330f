-- Moves jobs of an older release, which had a stream for each priority, to the backlogs.
-- INCLUDE release lease organizations places backlog replacing rows

local function join(token, job)
  local f = read_entry(job)
  if foreign(f.v, f.state) then return end
  if f.entry ~= token or not LIVE[f.state] then return release(token) end
  note_waiting(f.org, 1, #f.spec, f.own_chain)
  local place = f.place or place_from(token, f.spec, f.created)
  if f.state == 'processing' then
    replace_entry(job, f)
  else
    redis.call('HSET', job_prefix .. job, 'place', place, 'entry', enter(f.org, job, place, f.losses, f.deadline))
  end
  release(token)
end
