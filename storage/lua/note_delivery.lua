-- Note what became of an attempt to tell a webhook the end of a job. Sent twice, it changes nothing the second time.
-- KEYS: job. ARGV: id of the job with its tenant, number of the attempt, error or '', ms until the next attempt or -1
--       for none, name of the outcome's counter.
-- Returns 1, or 0 when there is nothing to tell: there is no such job, or another process has delivered it meanwhile.
if not has_to_be_told(KEYS[1], ARGV[1]) then
  return 0
end
even_when_full(KEYS[1])
if redis.call('HGET', KEYS[1], 'webhook_attempts') ~= ARGV[2] then
  count(ARGV[5], 1)
end
redis.call('HSET', KEYS[1], 'webhook_attempts', ARGV[2])
if ARGV[3] == '' then
  redis.call('HSET', KEYS[1], 'webhook_delivered_at_ms', now_ms())
else
  redis.call('HSET', KEYS[1], 'webhook_error', ARGV[3])
end
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if tonumber(ARGV[4]) < 0 then
  drop_from_outbox(ARGV[1])
else
  put_into_outbox(ARGV[1], now_ms() + ARGV[4])
end
return 1
