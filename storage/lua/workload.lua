-- Read how much work there is, of all tenants together. What is damaged, or denied to us, is left out.
-- KEYS: queued jobs, running jobs, succeeded jobs, failed jobs, cancelled jobs, RQ's list of entries, RQ's set of
--       workers, counters.
-- Returns the time in ms, how many jobs are in each of the five states, how many entries there are, the oldest queued
-- job with its time of creation, what each worker tells of itself, and the counters.
local function tried(...)
  local answer = redis.pcall(...)
  return not (type(answer) == 'table' and answer.err) and answer
end
local tenants = tried('SMEMBERS', TENANTS) or {}
local function index(tenant, k)
  return string.gsub(KEYS[k], '^perceptron:', 'perceptron:t:' .. tenant .. ':')
end
local counts = {}
for k = 1, 5 do
  counts[k] = tried('ZCARD', KEYS[k])
  for _, tenant in ipairs(tenants) do
    counts[k] = counts[k] and counts[k] + (tried('ZCARD', (index(tenant, k))) or 0)
  end
end
local oldest = tried('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
for _, tenant in ipairs(tenants) do
  local its = tried('ZRANGE', (index(tenant, 1)), 0, 0, 'WITHSCORES')
  if oldest and its and its[2] and (not oldest[2] or tonumber(its[2]) < tonumber(oldest[2])) then
    oldest = its
  end
end
local registered = tried('SMEMBERS', KEYS[7])
local workers = registered and {}
for _, key in ipairs(registered or {}) do
  local told = tried('HMGET', key, 'queues', 'state', 'successful_job_count', 'failed_job_count', 'total_working_time')
  if told and told[1] then
    table.insert(workers, {key, told})
  end
end
return {now_ms(), counts, tried('LLEN', KEYS[6]), oldest, workers, tried('HGETALL', KEYS[8])}
