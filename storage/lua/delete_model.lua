-- Delete a model with its versions and aliases; its version numbers stay used.
-- KEYS: models, versions of the model, aliases of the model, prefix of the versions' keys, digests of the model.
-- ARGV: model.
-- Returns how many versions were deleted.
local versions = redis.call('ZRANGE', KEYS[2], 0, -1)
for _, version in ipairs(versions) do
  redis.call('DEL', KEYS[4] .. version)
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[5])
redis.call('ZREM', KEYS[1], ARGV[1])
tell_model(KEYS[1], ARGV[1])
return #versions
