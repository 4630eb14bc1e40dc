-- Read how much work there is, of all tenants together. What is damaged, or denied to us, is left out.
-- KEYS: queued jobs, running jobs, succeeded jobs, failed jobs, cancelled jobs, RQ's list of entries, RQ's set of
--       workers, counters, queue of the jobs that belong to no tenant.
-- ARGV: how many jobs of one tenant may run at once.
-- Returns the time in ms, how many jobs are in each of the five states, how many entries there are, the oldest queued
-- job with its time of creation among those of tenants that may run one more, what each worker tells of itself, the
-- counters, how many queued jobs may run now, how many events are in the outbox, and the first one of the outbox and
-- the first one of those due, each with its time.
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
local n_entries, n_runnable, oldest = tried('LLEN', KEYS[6]), 0, {}
local function add(jobs_queued, jobs_running, queue)
  local queued, running = tried('ZCARD', jobs_queued), tried('ZCARD', jobs_running)
  local free = math.max(tonumber(ARGV[1]) - (running or 0), 0)
  queue = tried('ZCARD', queue)
  n_entries = n_entries and queue and n_entries + queue
  n_runnable = n_runnable and queued and running and n_runnable + math.min(queued, free)
  local first = free > 0 and tried('ZRANGE', jobs_queued, 0, 0, 'WITHSCORES')
  if first and first[2] and not (oldest[2] and tonumber(oldest[2]) <= tonumber(first[2])) then
    oldest = first
  end
end
add(KEYS[1], KEYS[2], KEYS[9])
for _, tenant in ipairs(tenants) do
  add((index(tenant, 1)), (index(tenant, 2)), (index(tenant, 9)))
end
local registered = tried('SMEMBERS', KEYS[7])
local workers = registered and {}
for _, key in ipairs(registered or {}) do
  local told = tried('HMGET', key, 'queues', 'state', 'successful_job_count', 'failed_job_count', 'total_working_time')
  if told and told[1] then
    table.insert(workers, {key, told})
  end
end
return {
  now_ms(), counts, n_entries, counts[1] and oldest, workers, tried('HGETALL', KEYS[8]), n_runnable, tried('ZCARD', WEBHOOK_OUTBOX),
  tried('ZRANGE', WEBHOOK_OUTBOX, 0, 0, 'WITHSCORES'), tried('ZRANGE', WEBHOOKS_DUE, 0, 0, 'WITHSCORES'),
}
