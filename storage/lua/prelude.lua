-- Stands before every other script of this folder.

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- Move a job from one state's sorted set to another's, keeping its time of creation.
local function move(job_id, from, to)
  redis.call('ZADD', to, redis.call('ZSCORE', from, job_id) or 0, job_id)
  redis.call('ZREM', from, job_id)
end

-- Whether the attempt runs the job now.
local function owns(job, attempt)
  return redis.call('HGET', job, 'status') == 'running' and redis.call('HGET', job, 'attempt') == attempt
end
