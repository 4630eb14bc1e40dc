-- Delete an access key that has ended. No process has to be told: it opens nothing.
-- KEYS: access key, access keys, ended access keys. Returns 1, or 0 when it is in force: the server's clock was set back.
local ends = redis.call('HMGET', KEYS[1], 'expires_at_ms', 'revoked_at_ms')
local has_ended = ends[2] or (tonumber(ends[1] or '') or math.huge) <= now_ms()
if has_ended then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], id_of(KEYS[1]))
end
redis.call('ZREM', KEYS[3], id_of(KEYS[1]))
return has_ended and 1 or 0
