-- A running attempt ends without a result, and the job waits for the next one.
-- KEYS: job, running jobs, queued jobs. ARGV: job id, attempt, 1 when the attempt died, else 0.
-- Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[2]) then
  return 0
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('HINCRBY', KEYS[1], 'n_deaths', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
return 1
