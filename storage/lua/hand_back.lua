-- A running attempt ends without a result, and the job waits for the next one.
-- KEYS: job, running jobs, queued jobs. ARGV: job id, attempt.
-- Returns 1, also when this attempt has handed the job back already (a repeated command); 0 when it does not own it.
if not owns(KEYS[1], ARGV[2]) then
  local state = redis.call('HMGET', KEYS[1], 'status', 'attempt')
  return state[1] == 'queued' and state[2] == ARGV[2] and 1 or 0
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'queued', 'rung_at_ms', now_ms())
redis.call('HINCRBY', KEYS[1], 'revision', 1)
note_status(KEYS[1], 'handed_back')
return 1
