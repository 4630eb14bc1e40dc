-- Take a queue entry and delete RQ's record of it. Where several tenants wait, it is the turn of the one with the fewest
-- running jobs, and among equals of the one that has waited longest for a turn; each tenant's entries go in their order.
-- KEYS: RQ's list of entries, turns of the tenants. ARGV: prefix of the keys of RQ's records.
-- Returns the entry's id, or nothing.
local function taken(entry)
  redis.call('UNLINK', ARGV[1] .. entry)
  return entry
end

local tenants = redis.call('SMEMBERS', TENANTS)
if #tenants > 0 then
  only_as(KEYS[2], 'hash')
  table.insert(tenants, '')
  local waiting = {}
  for _, tenant in ipairs(tenants) do
    local jobs = tenant == '' and 'perceptron:jobs' or 'perceptron:t:' .. tenant .. ':jobs'
    if redis.call('ZCARD', jobs .. ':queued') > 0 then
      local turn = tonumber(redis.call('HGET', KEYS[2], tenant) or 0) or 0
      table.insert(waiting, {name = tenant, running = redis.call('ZCARD', jobs .. ':running'), turn = turn})
    end
  end
  table.sort(waiting, function(one, other)
    return one.running < other.running or (one.running == other.running and one.turn < other.turn)
  end)
  for _, tenant in ipairs(#waiting > 1 and waiting or {}) do
    for first = 0, redis.call('LLEN', KEYS[1]) - 1, 1000 do
      for _, entry in ipairs(redis.call('LRANGE', KEYS[1], first, first + 999)) do
        if (string.match(entry, '^(.+)%-job_') or '') == tenant.name then
          redis.call('LREM', KEYS[1], 1, entry)
          redis.call('HSET', KEYS[2], tenant.name, redis.call('HINCRBY', KEYS[2], '#', 1))
          return taken(entry)
        end
      end
    end
  end
end
local entry = redis.call('LPOP', KEYS[1])
return entry and taken(entry)
