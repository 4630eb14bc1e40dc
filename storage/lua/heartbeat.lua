-- Note that the running attempt is alive.
-- KEYS: job. ARGV: attempt. Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
even_when_full(KEYS[1])
redis.call('HSET', KEYS[1], 'heartbeat_at_ms', now_ms())
return 1
