-- Cancel a job. A running attempt finds out at its next report.
-- KEYS: job, queued jobs, running jobs, cancelled jobs.
-- Returns the state that the job is in afterwards, or nothing when there is no such job.
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then
  return status
end
move(KEYS[1], status == 'queued' and KEYS[2] or KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'status', 'cancelled', 'finished_at_ms', now_ms())
note_status(KEYS[1], 'cancelled')
return 'cancelled'
