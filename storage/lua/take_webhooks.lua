-- Take jobs whose webhook is due. They are due again after the lease, unless what became of them is noted before.
-- A due time further away than any wait is of a clock that was set back, and counts as due.
-- ARGV: how many at most, the lease in ms, the longest wait in ms. Returns the ids of the jobs.
only_as(WEBHOOK_OUTBOX, 'zset')
local now = now_ms()
local due = redis.call('ZRANGEBYSCORE', WEBHOOK_OUTBOX, '-inf', now, 'LIMIT', 0, ARGV[1])
if #due == 0 then
  due = redis.call('ZRANGEBYSCORE', WEBHOOK_OUTBOX, '(' .. (now + ARGV[3]), '+inf', 'LIMIT', 0, ARGV[1])
end
if #due > 0 then
  even_when_full(WEBHOOK_OUTBOX .. ':room')
end
for _, job in ipairs(due) do
  redis.call('ZADD', WEBHOOK_OUTBOX, now + ARGV[2], job)
end
-- An older release takes jobs out of the outbox alone. What it left here would be late for ever.
only_as(WEBHOOKS_DUE, 'zset')
for _ = 1, tonumber(ARGV[1]) do
  local oldest = redis.call('ZRANGE', WEBHOOKS_DUE, 0, 0)[1]
  if not oldest or redis.call('ZSCORE', WEBHOOK_OUTBOX, oldest) then
    break
  end
  redis.call('ZREM', WEBHOOKS_DUE, oldest)
end
return due
