-- Note that a queued job is about to be enqueued again.
-- KEYS: job. Returns 1, or 0 when the job is no longer queued.
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then
  return 0
end
redis.call('HSET', KEYS[1], 'enqueued_at_ms', now_ms())
return 1
