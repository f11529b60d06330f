-- Counts entries of one organisation in one stream: those of a page of ids that are left.
-- KEYS line suspect isolated requeued high normal low
-- ARGV organization queue ids
-- queue: the stream's letter. ids: with spaces between.
-- RETURNS {jobs that wait, jobs that run, entries in the line that wait, and in that of suspects}
-- INCLUDE counted_entries

local right = {waiting = 0, running = 0, placed = 0, suspects = 0}
read_group(queue)
count_entries(right, organization, queue, ids)
return {right.waiting, right.running, right.placed, right.suspects}
