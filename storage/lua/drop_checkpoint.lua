-- Forget the job's checkpoint. `furthest_epochs` stays: an attempt that gets no further has made no progress.
-- KEYS: job. ARGV: attempt. Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
redis.call('HDEL', KEYS[1], 'checkpoint', 'checkpoint_epochs')
return 1
