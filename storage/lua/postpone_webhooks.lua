-- Put off jobs whose webhook was taken but not tried.
-- Their next times are spread over a span that grows with the number of jobs that are due, so that a backlog comes up
-- at a steady rate, however long it is.
-- ARGV: the shortest wait in ms, how many jobs may come up again in a second, the ids of the jobs with their tenants.
only_as(WEBHOOK_OUTBOX, 'zset')
only_as(WEBHOOKS_DUE, 'zset')
even_when_full(WEBHOOK_OUTBOX .. ':room')
local now, n_jobs = now_ms(), #ARGV - 2
local span_ms = 2 * redis.call('ZCOUNT', WEBHOOKS_DUE, '-inf', now) * 1000 / ARGV[2]  -- half of it on average
for k = 1, n_jobs do
  local at_ms = now + ARGV[1] + math.floor(span_ms * k / n_jobs)
  redis.call('ZADD', WEBHOOK_OUTBOX, 'XX', at_ms, ARGV[2 + k])
end
