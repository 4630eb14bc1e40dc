-- Stands before every other script of this folder.

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- Move a job from one state's sorted set to another's, keeping its time of creation.
-- First out, then in: a server whose memory is full refuses what may need some, but only until a script has written
-- something. So a job can be cancelled, fail and be handed back when there is no memory left.
local function move(job_id, from, to)
  local created_at_ms = redis.call('ZSCORE', from, job_id) or 0
  redis.call('ZREM', from, job_id)
  redis.call('ZADD', to, created_at_ms, job_id)
end

-- Go on though memory may be full, for the same reason: what follows takes none to speak of.
local function even_when_full(key)
  redis.call('HDEL', key, '')
end

-- Whether the attempt runs the job now.
local function owns(job, attempt)
  return redis.call('HGET', job, 'status') == 'running' and redis.call('HGET', job, 'attempt') == attempt
end

-- Tell the API processes that listen that a model's versions or aliases have changed.
local function tell_model(model)
  redis.call('PUBLISH', CHANGES, 'model ' .. model)
end

-- Add an event to what a job has to tell, and wake those who wait for one. The job's key ends with its id.
local function note(job, kind, data)
  redis.call('XADD', job .. ':events', 'MAXLEN', '~', MAX_EVENTS, '*', 'type', kind, 'data', data)
  redis.call('PUBLISH', CHANGES, 'job ' .. string.match(job, '[^:]+$') .. ' ' .. redis.call('HGET', job, 'status'))
end

-- Note the state that a job is in now, and why. What it has learned so far is of use until it is done.
local function note_status(job, reason)
  local state = redis.call('HMGET', job, 'status', 'attempt', 'version')
  if state[1] ~= 'queued' and state[1] ~= 'running' then
    redis.call('DEL', job .. ':best')
  end
  local version = state[3] and tonumber(state[3]) or nil
  note(job, 'status', cjson.encode({status = state[1], attempt = tonumber(state[2]), reason = reason, version = version}))
end
