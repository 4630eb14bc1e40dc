-- Record a new access key with the rights, the name and the lifetime of an old one, which expires after an overlap.
-- KEYS: old access key, new access key, access keys, state of access. ARGV: new state, overlap in ms, digest of the new.
-- Returns 1; 0 without such a key; otherwise a list with what has happened to the old one: revoked, expired, or rotated
-- and into which key.
local old = redis.call(
  'HMGET', KEYS[1], 'scopes', 'tenant', 'name', 'created_at_ms', 'expires_at_ms', 'revoked_at_ms', 'successor'
)
if not old[1] then
  return 0
end
if old[7] == id_of(KEYS[2]) then
  return 1  -- the command was sent twice: an id is random, so nobody else has it
end
must_be('zset', KEYS[3])
local now = now_ms()
local expires_at_ms = tonumber(old[5])
if old[6] then
  return {'revoked'}
end
if expires_at_ms and expires_at_ms <= now then
  return {'expired'}
end
if old[7] then
  return {'rotated', old[7]}
end
redis.call('HSET', KEYS[2], 'created_at_ms', now, 'digest', ARGV[3], 'scopes', old[1], 'tenant', old[2], 'name', old[3])
if expires_at_ms then
  redis.call('HSET', KEYS[2], 'expires_at_ms', now + expires_at_ms - old[4])
end
redis.call('ZADD', KEYS[3], now, id_of(KEYS[2]))
expires_at_ms = math.min(expires_at_ms or math.huge, now + ARGV[2])
redis.call('HSET', KEYS[1], 'expires_at_ms', expires_at_ms, 'successor', id_of(KEYS[2]))
tell_access(KEYS[4], ARGV[1], KEYS[1])
tell_access(KEYS[4], ARGV[1], KEYS[2])
return 1
