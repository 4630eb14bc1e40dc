-- A running attempt is dead: its job waits for the next one, or fails when too many have died.
-- KEYS: job, running jobs, queued jobs, failed jobs.
-- ARGV: job id, attempt, its last heartbeat, how many deaths are too many, error as JSON, 1 or 0: whether it counts.
-- Returns the job's new state, or nothing when the attempt has gone on meanwhile, or no longer owns the job.
if not owns(KEYS[1], ARGV[2]) or redis.call('HGET', KEYS[1], 'heartbeat_at_ms') ~= ARGV[3] then
  return false
end
local state = redis.call('HMGET', KEYS[1], 'furthest_epochs', 'furthest_at_claim', 'n_deaths')
local counts = ARGV[6] == '1' and tonumber(state[1] or -1) <= tonumber(state[2] or -1)
local n_deaths = tonumber(state[3] or 0) + (counts and 1 or 0)
local is_given_up = counts and n_deaths >= tonumber(ARGV[4])
move(ARGV[1], KEYS[2], is_given_up and KEYS[4] or KEYS[3])
redis.call('HSET', KEYS[1], 'n_deaths', n_deaths)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if is_given_up then
  redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[5], 'finished_at_ms', now_ms())
else
  redis.call('HSET', KEYS[1], 'status', 'queued', 'rung_at_ms', now_ms())
end
note_status(KEYS[1], 'attempt_died')
return is_given_up and 'failed' or 'queued'
