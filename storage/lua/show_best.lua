-- Keep the best network so far of the running attempt, for clients to predict with.
-- KEYS: job. ARGV: attempt, weights, figures as JSON, names of the features as JSON or ''.
-- Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
only_as(KEYS[1] .. ':best', 'hash')
redis.call('HSET', KEYS[1] .. ':best', 'weights', ARGV[2], 'figures', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1] .. ':best', 'feature_names', ARGV[4])
end
return 1
