-- Point an alias at an existing version.
-- KEYS: versions of the model, aliases of the model. ARGV: model, alias, version. Returns 1, or 0 without such a version.
if not redis.call('ZSCORE', KEYS[1], ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
tell_model(KEYS[1], ARGV[1])
return 1
