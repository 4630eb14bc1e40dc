-- Queue the job of a dead attempt again, or fail it when too many of its attempts have died.
-- KEYS: job, running jobs, queued jobs, failed jobs.
-- ARGV: attempt, its last heartbeat, how many deaths are too many, error as JSON, 1 or 0: whether this death counts.
-- Returns the job's new state, or nothing when the attempt is alive after all or no longer owns the job.
if not owns(KEYS[1], ARGV[1]) or redis.call('HGET', KEYS[1], 'heartbeat_at_ms') ~= ARGV[2] then
  return false
end
local state = redis.call('HMGET', KEYS[1], 'furthest_epochs', 'furthest_at_claim', 'n_deaths')
local counts = ARGV[5] == '1' and tonumber(state[1] or -1) <= tonumber(state[2] or -1)
local n_deaths = tonumber(state[3] or 0) + (counts and 1 or 0)
local is_given_up = counts and n_deaths >= tonumber(ARGV[3])
move(KEYS[1], KEYS[2], is_given_up and KEYS[4] or KEYS[3])
redis.call('HSET', KEYS[1], 'n_deaths', n_deaths)
if is_given_up then
  redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[4], 'finished_at_ms', now_ms())
  count('failed', 1)
else
  redis.call('HSET', KEYS[1], 'status', 'queued', 'enqueued_at_ms', now_ms())
end
note_status(KEYS[1], 'attempt_died')
return is_given_up and 'failed' or 'queued'
