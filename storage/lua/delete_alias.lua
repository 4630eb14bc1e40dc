-- Forget an alias; the version it points at stays.
-- KEYS: aliases of the model. ARGV: model, alias. Returns 1, or 0 when there is no such alias.
if redis.call('HDEL', KEYS[1], ARGV[2]) == 0 then
  return 0
end
tell_model(KEYS[1], ARGV[1])
return 1
