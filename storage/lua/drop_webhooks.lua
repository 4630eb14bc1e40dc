-- Take those of the jobs out of the outbox whose end is not to be told.
-- The others have a damaged record: they stay, but are not late, because an alarm names them already.
-- KEYS: jobs. ARGV: their ids with their tenants.
-- Returns for each what is wrong with it, or ''.
only_as(WEBHOOKS_DUE, 'zset')
local reasons = {}
for k, job in ipairs(KEYS) do
  local _, reason = has_to_be_told(job, ARGV[k])
  redis.call('ZREM', WEBHOOKS_DUE, ARGV[k])
  reasons[k] = reason or ''
end
return reasons
