-- Take a queue entry and delete RQ's record of it. Where several tenants wait, it is the turn of the one with the fewest
-- running jobs, among equals of the one that has waited longest for a turn, and then of the one with the oldest job; each
-- tenant's entries go in their order.
-- KEYS: RQ's list of entries, turns of the tenants.
-- ARGV: prefix of the keys of RQ's records, how many jobs of one tenant may run at once or 0, and an entry that was taken
--       from the front of the list and comes back first, or ''.
-- Returns the entry's id, or nothing: there is none, or all that wait are of tenants with as many running jobs as may be.
if ARGV[3] ~= '' then
  redis.call('LPUSH', KEYS[1], ARGV[3])
end
local most = tonumber(ARGV[2])

local function index(tenant, status)
  return (tenant == '' and 'perceptron:jobs:' or 'perceptron:t:' .. tenant .. ':jobs:') .. status
end

local function may_run(tenant)
  return most == 0 or redis.call('ZCARD', index(tenant, 'running')) < most
end

local function tenant_of(entry)
  return string.match(entry, '^(.+)%-job_') or ''
end

-- The first entry in the list that is wanted.
local function find(is_wanted)
  for first = 0, redis.call('LLEN', KEYS[1]) - 1, 1000 do
    for _, entry in ipairs(redis.call('LRANGE', KEYS[1], first, first + 999)) do
      if is_wanted(tenant_of(entry)) then
        return entry
      end
    end
  end
end

local waiting = {}
local tenants = redis.call('SMEMBERS', TENANTS)
if #tenants > 0 then
  only_as(KEYS[2], 'hash')
  table.insert(tenants, '')
  for _, tenant in ipairs(tenants) do
    local oldest = redis.call('ZRANGE', index(tenant, 'queued'), 0, 0, 'WITHSCORES')
    if oldest[1] and may_run(tenant) then
      local turn = tonumber(redis.call('HGET', KEYS[2], tenant) or 0) or 0
      local running = redis.call('ZCARD', index(tenant, 'running'))
      table.insert(waiting, {name = tenant, order = {running, turn, tonumber(oldest[2])}})
    end
  end
  table.sort(waiting, function(one, other)
    for k, number in ipairs(one.order) do
      if number ~= other.order[k] then
        return number < other.order[k]
      end
    end
    return one.name < other.name
  end)
end
local entry
for _, tenant in ipairs(waiting) do
  entry = entry or find(function(name) return name == tenant.name end)
end
-- Without tenants the first one; also where the job of an entry is no longer queued, and nobody's turn.
entry = entry or find(may_run)
if not entry then
  return false
end
redis.call('LREM', KEYS[1], 1, entry)
redis.call('UNLINK', ARGV[1] .. entry)
if #tenants > 0 then
  redis.call('HSET', KEYS[2], tenant_of(entry), redis.call('HINCRBY', KEYS[2], '#', 1))
end
return entry
