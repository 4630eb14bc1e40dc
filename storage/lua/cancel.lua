-- Somebody wants the job no more; a running attempt finds out when it next reports.
-- KEYS: job, queued jobs, running jobs, cancelled jobs. ARGV: job id.
-- Returns the state the job is in afterwards, or nothing when there is no such job.
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then
  return status
end
move(ARGV[1], status == 'queued' and KEYS[2] or KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'status', 'cancelled', 'finished_at_ms', now_ms())
redis.call('HINCRBY', KEYS[1], 'revision', 1)
note_status(KEYS[1], 'cancelled')
return 'cancelled'
