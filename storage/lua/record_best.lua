-- The running attempt shows the best network that it has so far.
-- KEYS: job, its best network. ARGV: attempt, weights, figures as JSON. Returns 1, or 0 when it does not own the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[2], 'weights', ARGV[2], 'figures', ARGV[3])
return 1
