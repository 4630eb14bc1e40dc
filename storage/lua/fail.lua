-- The running attempt ends the job without a model.
-- KEYS: job, running jobs, failed jobs. ARGV: job id, attempt, error as JSON.
-- Returns 1, also when this attempt has failed the job already (a repeated command); else 0.
if not owns(KEYS[1], ARGV[2]) then
  local state = redis.call('HMGET', KEYS[1], 'status', 'attempt')
  return state[1] == 'failed' and state[2] == ARGV[2] and 1 or 0
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[3], 'finished_at_ms', now_ms())
redis.call('HINCRBY', KEYS[1], 'revision', 1)
note_status(KEYS[1], 'failed')
return 1
