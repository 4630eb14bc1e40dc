-- Keep the best network so far of the running attempt, for clients to predict with.
-- KEYS: job. ARGV: attempt, weights, figures as JSON. Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1] .. ':best', 'weights', ARGV[2], 'figures', ARGV[3])
return 1
