-- Put off jobs whose webhook was taken but not tried.
-- ARGV: ms until they are due again, the ids of the jobs with their tenants.
only_as(WEBHOOK_OUTBOX, 'zset')
even_when_full(WEBHOOK_OUTBOX .. ':room')
local due_at_ms = now_ms() + ARGV[1]
for k = 2, #ARGV do
  redis.call('ZADD', WEBHOOK_OUTBOX, 'XX', due_at_ms, ARGV[k])
end
