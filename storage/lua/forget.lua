-- Forget a job that was done long ago.
-- KEYS: job, its events, jobs, jobs in the state that it was found in. ARGV: time in ms: done by then or earlier.
-- Returns 1, or 0 when it stays.
local state = redis.call('HMGET', KEYS[1], 'status', 'finished_at_ms')
if state[1] then
  local is_done = state[1] == 'succeeded' or state[1] == 'failed' or state[1] == 'cancelled'
  if not is_done or tonumber(state[2]) > tonumber(ARGV[1]) then
    return 0
  end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], id_of(KEYS[1]))
redis.call('ZREM', KEYS[4], id_of(KEYS[1]))
return 1
