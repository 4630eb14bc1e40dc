-- Record a new data set.
-- KEYS: data set, data sets, what exists while the blob of the data set is being deleted.
-- ARGV: the fields of the record, each with its value.
-- Returns 1; 0 when there is one already; nothing when the blob is being deleted.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  return false
end
must_be('zset', KEYS[2])
note_tenant(KEYS[1])
redis.call('HSET', KEYS[1], 'created_at_ms', now_ms(), unpack(ARGV))
redis.call('ZADD', KEYS[2], now_ms(), id_of(KEYS[1]))
return 1
