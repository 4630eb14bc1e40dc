-- End the job without a version.
-- KEYS: job, running jobs, failed jobs. ARGV: attempt, error as JSON.
-- Returns 1, also when the command was sent twice; 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return has_ended_as(KEYS[1], 'failed', ARGV[1]) and 1 or 0
end
move(KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[2], 'finished_at_ms', now_ms())
note_status(KEYS[1], 'failed')
return 1
