-- A worker takes a queued job and becomes its next attempt.
-- KEYS: job, queued jobs, running jobs. ARGV: job id. Returns the attempt, or nothing unless the job is queued.
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then
  return false
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSETNX', KEYS[1], 'started_at_ms', now_ms())
redis.call('HSET', KEYS[1], 'status', 'running', 'heartbeat_at_ms', now_ms())
redis.call('HINCRBY', KEYS[1], 'revision', 1)
return redis.call('HINCRBY', KEYS[1], 'attempt', 1)
