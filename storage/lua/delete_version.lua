-- Delete a version that no alias names.
-- KEYS: models, versions of the model, aliases of the model, the version, digests of the model. ARGV: model, version.
-- Returns 1; 0 when there is no such version; the alias when one names it.
if not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  return 0
end
local aliases = redis.call('HGETALL', KEYS[3])
for i = 1, #aliases, 2 do
  if aliases[i + 1] == ARGV[2] then
    return aliases[i]
  end
end
redis.call('DEL', KEYS[4])
redis.call('HDEL', KEYS[5], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
if redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
tell_model(KEYS[1], ARGV[1])
return 1
