-- Record a new job. Sent twice, it changes nothing the second time: the job may be running or done by then.
-- KEYS: job, jobs, queued jobs, idempotency key or '', what exists while the blob of the instances is being deleted,
--       data set if there is one.
-- ARGV: model, spec as JSON, metadata as JSON, digest of the instances, fingerprint, seconds to remember it, spec
--       without the names of the features as JSON if they are too many for whoever reads the record, else '', how many
--       jobs may wait, URL of the webhook or '', the trace of the request as JSON or ''.
-- Returns 1, or 0; nothing when the blob is being deleted, -1 when there is no such data set, -2 when as many jobs wait
-- as may: then there is no new job.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if redis.call('EXISTS', KEYS[5]) == 1 then
  return false
end
if KEYS[6] and redis.call('EXISTS', KEYS[6]) == 0 then
  return -1
end
must_be('zset', KEYS[2])
must_be('zset', KEYS[3])
must_be('set', TENANTS)
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[8]) then
  return -2
end
if KEYS[4] ~= '' then
  must_be('hash', KEYS[4])
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'model', ARGV[1], 'status', 'queued', 'attempt', 0, 'spec', ARGV[2], 'metadata', ARGV[3],
  'data', ARGV[4], 'created_at_ms', now, 'enqueued_at_ms', now)
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[1], 'short_spec', ARGV[7])
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'webhook', ARGV[9])
end
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[1], 'trace', ARGV[10])
end
if KEYS[6] then
  redis.call('HSET', KEYS[1], 'dataset', id_of(KEYS[6]))
end
note_tenant(KEYS[1])
note_status(KEYS[1], 'submitted')
redis.call('ZADD', KEYS[2], now, id_of(KEYS[1]))
redis.call('ZADD', KEYS[3], now, id_of(KEYS[1]))
if KEYS[4] ~= '' then
  redis.call('HSET', KEYS[4], 'job', id_of(KEYS[1]), 'fingerprint', ARGV[5])
  redis.call('EXPIRE', KEYS[4], ARGV[6])
end
return 1
