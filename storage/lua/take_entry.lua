-- Take the next job from the queue. RQ's list is where entries arrive; from there each job goes once into its tenant's
-- queue, so that a look costs the same however many jobs wait. Where several tenants wait, it is the turn of the one with
-- the fewest running jobs, among equals of the one that has waited longest for a turn, and then of the one with the oldest
-- job. A tenant whose keys are damaged is passed over.
-- KEYS: RQ's list of entries, turns of the tenants.
-- ARGV: prefix of the keys of RQ's records, how many jobs of one tenant may run at once or 0, and an entry that was taken
--       from the front of the list, or ''.
-- Returns the job's id with its tenant, or an entry that is none of ours; nothing when there is none; '' when all that
-- wait are of tenants with as many running jobs as may be; 1 when more entries have to be moved first: call it again.
local most = tonumber(ARGV[2])
local MOVED_AT_ONCE = 1000  -- so that nobody waits long for Redis

local function tried(...)
  local answer = redis.pcall(...)
  return not (type(answer) == 'table' and answer.err) and answer
end

local function key_of(tenant, name)
  return (tenant == '' and 'perceptron:' or 'perceptron:t:' .. tenant .. ':') .. name
end

only_as(KEYS[2], 'hash')
local turns, known, n_known = {}, {}, 0
local function know(tenant)
  n_known = n_known + (known[tenant] and 0 or 1)
  known[tenant] = true
end
know('')
for _, tenant in ipairs(tried('SMEMBERS', TENANTS) or {}) do
  know(tenant)
end
local told = redis.call('HGETALL', KEYS[2])
for k = 1, #told, 2 do
  turns[told[k]] = tonumber(told[k + 1]) or 0
  if told[k] ~= '#' then
    know(told[k])  -- the set of tenants may be damaged
  end
end

-- The tenant and the id of the job that an entry names; nothing if it has another form.
local function read(entry)
  if #entry > 109 then
    return
  end
  local front, id, tail = string.match(entry, '^(.-)(job_%x+)%-(%x+)$')
  if not id or #id ~= 36 or #tail ~= 8 then
    return
  end
  if front == '' then
    return '', id
  end
  local tenant = string.match(front, '^([a-z0-9][a-z0-9-]*)%-$')
  return tenant, tenant and tenant .. '/' .. id
end

-- Without tenants and a limit the order is that of the list: what stays there is seen by older workers, too.
local most_moved = (n_known > 1 or most > 0) and MOVED_AT_ONCE or 1
local arrived = {}
if ARGV[3] ~= '' then
  arrived[1] = ARGV[3]
end
if most_moved > #arrived then
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, most_moved - #arrived - 1)) do
    table.insert(arrived, entry)
  end
end
if #arrived > 0 then
  local records = {}
  for k, entry in ipairs(arrived) do
    records[k] = ARGV[1] .. entry
  end
  redis.call('UNLINK', unpack(records))  -- first, as it needs no memory: then the server refuses none of the rest
end
local last = {}
for k, entry in ipairs(arrived) do
  if k > 1 or ARGV[3] == '' then
    redis.call('LREM', KEYS[1], 1, entry)
  end
  local tenant, job = read(entry)
  if not job then
    return entry
  end
  if not known[tenant] then
    tenant = ''
  end
  local queue = key_of(tenant, 'queue')
  if not last[tenant] then
    only_as(queue, 'zset')
    last[tenant] = tonumber(redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2]) or 0
  end
  last[tenant] = last[tenant] + redis.call('ZADD', queue, 'NX', last[tenant] + 1, job)
end

if #arrived > 1 and redis.call('LLEN', KEYS[1]) > 0 then
  return 1
end

local function comes_before(one, other)
  for k, number in ipairs(one.order) do
    if number ~= other.order[k] then
      return number < other.order[k]
    end
  end
  return one.tenant < other.tenant
end

local chosen, is_any_waiting
for tenant in pairs(known) do
  local first = tried('ZRANGE', key_of(tenant, 'queue'), 0, 0)
  if first and first[1] then
    is_any_waiting = true
    local n_running = tried('ZCARD', key_of(tenant, 'jobs:running'))
    local oldest = tried('ZRANGE', key_of(tenant, 'jobs:queued'), 0, 0, 'WITHSCORES')
    if n_running and oldest and (most == 0 or n_running < most) then
      -- Where no job is queued, all that wait were cancelled: that is nobody's turn.
      local order = {oldest[1] and 0 or 1, n_running, turns[tenant] or 0, tonumber(oldest[2] or 0)}
      local one = {tenant = tenant, job = first[1], order = order}
      if not chosen or comes_before(one, chosen) then
        chosen = one
      end
    end
  end
end
if not chosen then
  return is_any_waiting and ''
end
redis.call('ZREM', key_of(chosen.tenant, 'queue'), chosen.job)
if n_known > 1 then
  local turn = (turns['#'] or 0) + 1
  redis.call('HSET', KEYS[2], '#', turn, chosen.tenant, turn)
end
return chosen.job
