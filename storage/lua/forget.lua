-- Forget a job that was done long ago, also one whose record is damaged.
-- KEYS: job, its events, its best network, and the sorted sets that may name it: jobs, those in each final state, ended.
-- Returns 1, or 0 when it is not done.
local status = redis.call('TYPE', KEYS[1])['ok'] == 'hash' and redis.call('HGET', KEYS[1], 'status')
local is_done = status ~= 'queued' and status ~= 'running'
if is_done then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
end
for k = is_done and 4 or #KEYS, #KEYS do
  redis.call('ZREM', KEYS[k], id_of(KEYS[1]))
end
return is_done and 1 or 0
