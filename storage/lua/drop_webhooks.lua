-- Take those of the jobs out of the outbox whose end is not to be told.
-- KEYS: jobs. ARGV: their ids with their tenants.
-- Returns for each what is wrong with it, or ''.
local reasons = {}
for k, job in ipairs(KEYS) do
  local _, reason = has_to_be_told(job, ARGV[k])
  reasons[k] = reason or ''
end
return reasons
