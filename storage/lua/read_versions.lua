-- Read all versions of a model without their weights, its aliases and digests, as of one moment.
-- Not SORT ... GET: managed Redis often denies SORT, as one of the dangerous commands.
-- KEYS: versions of the model, aliases of the model, prefix of the versions' keys, digests of the model.
-- Returns the numbers; names and numbers of the aliases; numbers and digests; for each version when it was created, and
-- its description.
local numbers = redis.call('ZRANGE', KEYS[1], 0, -1)
local versions = {}
for k, number in ipairs(numbers) do
  local fields = redis.pcall('HMGET', KEYS[3] .. number, 'created_at_ms', 'description')
  versions[k] = fields.err and {false, false} or fields  -- where the key has another type, only this version is lost
end
return {numbers, redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[4]), versions}
