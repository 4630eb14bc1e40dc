-- A running attempt is dead: its job waits for the next one, or fails when too many have died.
-- KEYS: job, running jobs, queued jobs, failed jobs.
-- ARGV: job id, attempt, its last heartbeat, how many deaths are too many, error as JSON.
-- Returns the job's new state, or nothing when the attempt has gone on meanwhile, or no longer owns the job.
if not owns(KEYS[1], ARGV[2]) or redis.call('HGET', KEYS[1], 'heartbeat_at_ms') ~= ARGV[3] then
  return false
end
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if redis.call('HINCRBY', KEYS[1], 'n_deaths', 1) >= tonumber(ARGV[4]) then
  move(ARGV[1], KEYS[2], KEYS[4])
  redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[5], 'finished_at_ms', now_ms())
  note_status(KEYS[1], 'attempt_died')
  return 'failed'
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'queued', 'rung_at_ms', now_ms())
note_status(KEYS[1], 'attempt_died')
return 'queued'
