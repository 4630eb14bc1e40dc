-- Record a new access key.
-- KEYS: access key, access keys, state of access. ARGV: new state, lifetime in ms or nothing, the fields of the record,
-- each with its value.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return  -- the command was sent twice: an id is random, so nobody else has it
end
must_be('zset', KEYS[2])
local now = now_ms()
redis.call('HSET', KEYS[1], 'created_at_ms', now, unpack(ARGV, 3))
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'expires_at_ms', now + ARGV[2])
end
redis.call('ZADD', KEYS[2], now, id_of(KEYS[1]))
tell_access(KEYS[3], ARGV[1], KEYS[1])
