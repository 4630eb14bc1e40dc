-- End the job with a new version: version, alias and job change in one step.
-- KEYS: job, running jobs, succeeded jobs, version numbers, models, versions of the model, aliases of the model,
--       prefix of the versions' keys, digests of the model.
-- ARGV: attempt, model, weights, description as JSON, result as JSON, alias or '', digest of the version, names of the
--       features as JSON if they are not in the description, else '', leaderboard as JSON or '', and if it has not been
--       reported before the last progress and point of the learning curve as JSON, else '' and ''.
-- Returns the version, also when the command was sent twice; 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return has_ended_as(KEYS[1], 'succeeded', ARGV[1]) and tonumber(redis.call('HGET', KEYS[1], 'version')) or 0
end
for k, kind in pairs({[2] = 'zset', [3] = 'zset', [4] = 'hash', [5] = 'zset', [6] = 'zset', [9] = 'hash'}) do
  must_be(kind, KEYS[k])
end
if ARGV[6] ~= '' then
  must_be('hash', KEYS[7])
end
if ARGV[10] ~= '' then
  count_epochs(KEYS[1], ARGV[10])
  redis.call('HSET', KEYS[1], 'progress', ARGV[10])
  note(KEYS[1], 'epoch', ARGV[11])
end
local now = now_ms()
local version = redis.call('HINCRBY', KEYS[4], ARGV[2], 1)
only_as(KEYS[8] .. version, 'hash')
redis.call('HSET', KEYS[8] .. version, 'weights', ARGV[3], 'description', ARGV[4], 'created_at_ms', now)
redis.call('HSET', KEYS[9], version, ARGV[7])
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[8] .. version, 'feature_names', ARGV[8])
end
redis.call('ZADD', KEYS[5], 0, ARGV[2])
redis.call('ZADD', KEYS[6], version, version)
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[7], ARGV[6], version)
end
move(KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'succeeded', 'version', version, 'result', ARGV[5], 'finished_at_ms', now)
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'leaderboard', ARGV[9])
end
note_status(KEYS[1], 'published')
tell_model(KEYS[1], ARGV[2])
return version
