-- Begin the next attempt of a queued job.
-- KEYS: job, queued jobs, running jobs. ARGV: a token that only this claim has, how many of the tenant's jobs may run at
--       once or 0.
-- Returns the attempt's number, also when the command was sent twice; nothing unless the job is queued; 0 when as many
-- of its tenant's jobs run as may.
local state = redis.call('HMGET', KEYS[1], 'status', 'claim', 'attempt')
if state[1] == 'running' and state[2] == ARGV[1] then
  return tonumber(state[3])
end
if state[1] ~= 'queued' then
  return false
end
if tonumber(ARGV[2]) > 0 and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[2]) then
  return 0
end
move(KEYS[1], KEYS[2], KEYS[3])
redis.call('HSETNX', KEYS[1], 'started_at_ms', now_ms())
redis.call('HSET', KEYS[1], 'status', 'running', 'claim', ARGV[1], 'heartbeat_at_ms', now_ms(),
  'furthest_at_claim', redis.call('HGET', KEYS[1], 'furthest_epochs') or -1)
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
note_status(KEYS[1], 'claimed')
return attempt
