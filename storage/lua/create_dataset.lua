-- Record a new data set.
-- KEYS: data set, data sets, what exists while the blob of the data set is being deleted, running total of data sets.
-- ARGV: its bytes, what all data sets of its tenant may have together, the fields of the record, each with its value.
-- Returns 1; 0 when there is one already; nothing when the blob is being deleted; how many bytes they would have, as
-- text, when that is too many.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  return false
end
must_be('zset', KEYS[2])
must_be('set', TENANTS)
local is_limited = tonumber(ARGV[2]) < 2^53
local n_bytes = is_limited and tonumber(ARGV[1]) + bytes_of(KEYS[4], KEYS[2], string.match(KEYS[1], '^(.*:)[^:]+$')) or 0
if n_bytes > tonumber(ARGV[2]) then
  return string.format('%.0f', n_bytes)
end
note_tenant(KEYS[1])
redis.call('HSET', KEYS[1], 'created_at_ms', now_ms(), unpack(ARGV, 3))
redis.call('ZADD', KEYS[2], now_ms(), id_of(KEYS[1]))
add_bytes(KEYS[4], size_of(KEYS[1]))
return 1
