-- The running attempt ends the job with a new version: version, alias and job change in one step.
-- KEYS: job, running jobs, succeeded jobs, version numbers, models, versions of the model, aliases of the model,
--       prefix of the versions' keys.
-- ARGV: job id, attempt, model, weights, description as JSON, result as JSON, alias or ''.
-- Returns the version, also when this attempt has published already (a repeated command); else 0.
if not owns(KEYS[1], ARGV[2]) then
  local state = redis.call('HMGET', KEYS[1], 'status', 'attempt', 'version')
  return state[1] == 'succeeded' and state[2] == ARGV[2] and tonumber(state[3]) or 0
end
local now = now_ms()
local version = redis.call('HINCRBY', KEYS[4], ARGV[3], 1)
redis.call('HSET', KEYS[8] .. version, 'weights', ARGV[4], 'description', ARGV[5], 'created_at_ms', now)
redis.call('ZADD', KEYS[5], 0, ARGV[3])
redis.call('ZADD', KEYS[6], version, version)
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[7], ARGV[7], version)
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'status', 'succeeded', 'version', version, 'result', ARGV[6], 'finished_at_ms', now)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
note_status(KEYS[1], 'published')
tell_model(ARGV[3])
return version
