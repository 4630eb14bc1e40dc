-- Delete a data set, unless a job that is not done needs it.
-- KEYS: data set, data sets, queued jobs, running jobs, running total of data sets. ARGV: beginning of the key of a job.
-- Returns 1, or 0 when there is no such data set, or the id of the first job that needs it.
local id = id_of(KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[2], id)
  return 0
end
for k = 3, 4 do
  for _, job in ipairs(redis.call('ZRANGE', KEYS[k], 0, -1)) do
    local is_job = redis.call('TYPE', ARGV[1] .. job)['ok'] == 'hash'
    if is_job and redis.call('HGET', ARGV[1] .. job, 'dataset') == id then
      return job
    end
  end
end
local n_bytes = size_of(KEYS[1])
local was_counted = redis.call('ZREM', KEYS[2], id) == 1
redis.call('DEL', KEYS[1])
if was_counted then
  add_bytes(KEYS[5], -n_bytes)  -- last: a full server refuses it as the first write
end
return 1
