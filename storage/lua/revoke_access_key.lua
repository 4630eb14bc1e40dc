-- Revoke an access key at once, for good.
-- KEYS: access key, state of access. ARGV: new state. Returns 1, or 0 without such a key.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
even_when_full(KEYS[1])
redis.call('HSETNX', KEYS[1], 'revoked_at_ms', now_ms())
tell_access(KEYS[2], ARGV[1], KEYS[1])
return 1
