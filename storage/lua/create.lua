-- Record a new job. Sent again after a lost answer, it changes nothing: the job may be running or done by then.
-- KEYS: job, jobs, queued jobs, idempotency key or ''.
-- ARGV: job id, model, spec as JSON, metadata as JSON, fingerprint, seconds to remember it, digest of the instances.
-- Returns 1, or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'model', ARGV[2], 'status', 'queued', 'attempt', 0, 'revision', 1, 'spec', ARGV[3],
  'metadata', ARGV[4], 'data', ARGV[7], 'created_at_ms', now, 'rung_at_ms', now)
note_status(KEYS[1], 'submitted')
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
if KEYS[4] ~= '' then
  redis.call('HSET', KEYS[4], 'job', ARGV[1], 'fingerprint', ARGV[5])
  redis.call('EXPIRE', KEYS[4], ARGV[6])
end
return 1
