-- Name the checkpoint that the next attempt resumes from.
-- KEYS: job. ARGV: attempt, digest of the checkpoint's blob, how many epochs are done by then.
-- Returns 1; 2 when the job keeps a newer checkpoint; 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
local state = redis.call('HMGET', KEYS[1], 'checkpoint', 'checkpoint_epochs', 'furthest_epochs')
if state[1] ~= ARGV[2] and tonumber(state[2] or -1) >= tonumber(ARGV[3]) then
  return 2
end
redis.call('HSET', KEYS[1], 'checkpoint', ARGV[2], 'checkpoint_epochs', ARGV[3])
if state[1] ~= ARGV[2] then
  count('checkpoints', 1)
end
if tonumber(state[3] or -1) < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'furthest_epochs', ARGV[3])
end
return 1
