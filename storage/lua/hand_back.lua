-- End a running attempt without a result, and queue the job for the next one.
-- KEYS: job, running jobs, queued jobs. ARGV: attempt.
-- Returns 1, also when the command was sent twice; 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return has_ended_as(KEYS[1], 'queued', ARGV[1]) and 1 or 0
end
move(KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'queued', 'enqueued_at_ms', now_ms())
note_status(KEYS[1], 'handed_back')
return 1
