-- Take a queue entry and delete RQ's record of it. Where several tenants wait, it is the turn of the one with the fewest
-- running jobs, among equals of the one that has waited longest for a turn, and then of the one with the oldest job.
-- A tenant whose keys are damaged is passed over.
-- KEYS: RQ's list of entries, turns of the tenants.
-- ARGV: prefix of the keys of RQ's records, how many jobs of one tenant may run at once or 0, and an entry that was taken
--       from the front of the list and comes back first, or ''.
-- Returns the entry's id; nothing when there is none; '' when all that wait are of tenants with as many running jobs as
-- may be.
if ARGV[3] ~= '' then
  redis.call('LPUSH', KEYS[1], ARGV[3])
end
local most = tonumber(ARGV[2])

local function tried(...)
  local answer = redis.pcall(...)
  return not (type(answer) == 'table' and answer.err) and answer
end

local n_running = {}
local function running(tenant)
  if n_running[tenant] == nil then
    local jobs = tenant == '' and 'perceptron:jobs' or 'perceptron:t:' .. tenant .. ':jobs'
    n_running[tenant] = tried('ZCARD', jobs .. ':running')
  end
  return n_running[tenant]
end

local function may_run(tenant)
  return running(tenant) and (most == 0 or running(tenant) < most)
end

local function tenant_of(entry)
  return string.match(entry, '^(.+)%-job_') or ''
end

-- Who waits and may run, the one whose turn it is first.
local waiting = {}
local tenants = tried('SMEMBERS', TENANTS) or {}
if #tenants > 0 then
  only_as(KEYS[2], 'hash')
  table.insert(tenants, '')
  for _, tenant in ipairs(tenants) do
    local jobs = tenant == '' and 'perceptron:jobs' or 'perceptron:t:' .. tenant .. ':jobs'
    local oldest = tried('ZRANGE', jobs .. ':queued', 0, 0, 'WITHSCORES')
    if oldest and oldest[1] and may_run(tenant) then
      local turn = tonumber(redis.call('HGET', KEYS[2], tenant) or 0) or 0
      table.insert(waiting, {name = tenant, order = {running(tenant), turn, tonumber(oldest[2])}})
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

-- The first entry of each tenant, up to that of the one whose turn it is; and of any that may run, since the job of an
-- entry may no longer be queued, and then it is nobody's turn.
local length = redis.call('LLEN', KEYS[1])
local first_of, any = {}, nil
local wanted = waiting[1] and waiting[1].name
for start = 0, length - 1, 1000 do
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1], start, start + 999)) do
    local tenant = tenant_of(entry)
    first_of[tenant] = first_of[tenant] or entry
    any = any or (may_run(tenant) and entry)
  end
  if first_of[wanted] or (not wanted and any) then
    break
  end
end
local entry
for _, tenant in ipairs(waiting) do
  entry = entry or first_of[tenant.name]
end
entry = entry or any
if not entry then
  return length > 0 and ''
end
if #tenants > 0 then
  local turn = (tonumber(redis.call('HGET', KEYS[2], '#') or 0) or 0) + 1
  redis.call('HSET', KEYS[2], '#', turn, tenant_of(entry), turn)
end
redis.call('LREM', KEYS[1], 1, entry)
redis.call('UNLINK', ARGV[1] .. entry)
return entry
