-- Adds deltas to the logs of running jobs. A field is named by token and number, so that a repeated call adds nothing.
-- KEYS line suspect isolated requeued high normal low
-- PREFIX log job_channel
-- ITEM consumer job token number text
-- RETURNS how many clients received the notification, or LOST
-- INCLUDE batch lease

return each_item(function(consumer, job, token, number, text)
  if not holds(consumer, token) then return 'LOST' end
  local event = token .. '.' .. number
  redis.call('HSET', log_prefix .. job, event, 'd' .. text)
  return redis.call('PUBLISH', job_channel_prefix .. job, event)
end)
