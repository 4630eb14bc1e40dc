-- Note how far the running attempt is.
-- KEYS: job. ARGV: attempt, progress as JSON, point of the learning curve as JSON or ''.
-- Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
count_epochs(KEYS[1], ARGV[2])
redis.call('HSET', KEYS[1], 'progress', ARGV[2], 'heartbeat_at_ms', now_ms())
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[3] ~= '' then
  note(KEYS[1], 'epoch', ARGV[3])
end
return 1
