-- A worker takes a queued job and becomes its next attempt.
-- KEYS: job, queued jobs, running jobs. ARGV: job id, a text that only this claim has.
-- Returns the attempt, also when this claim has been granted already (a repeated command); nothing unless the job is
-- queued.
local state = redis.call('HMGET', KEYS[1], 'status', 'claim', 'attempt')
if state[1] == 'running' and state[2] == ARGV[2] then
  return tonumber(state[3])
end
if state[1] ~= 'queued' then
  return false
end
move(ARGV[1], KEYS[2], KEYS[3])
redis.call('HSETNX', KEYS[1], 'started_at_ms', now_ms())
redis.call('HSET', KEYS[1], 'status', 'running', 'claim', ARGV[2], 'heartbeat_at_ms', now_ms(),
  'furthest_at_claim', redis.call('HGET', KEYS[1], 'furthest_epochs') or -1)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
note_status(KEYS[1], 'claimed')
return attempt
