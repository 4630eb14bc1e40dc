-- Stands before every other script of this folder.

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- The key of a job or a data set ends with its id, as its tenant knows it.
local function id_of(key)
  return string.match(key, '[^:]+$')
end

-- An id or a name as the code passes it on: with the tenant that the key belongs to.
local function owned(key, name)
  local tenant = string.match(key, '^perceptron:t:([^:]+):')
  return tenant and (tenant .. '/' .. name) or name
end

-- How many bytes a data set counts: the larger of its file as it was uploaded and as it is stored, which older releases
-- did not note. A damaged size counts nothing.
local function size_of(dataset)
  if redis.call('TYPE', dataset)['ok'] ~= 'hash' then
    return 0
  end
  local sizes = redis.call('HMGET', dataset, 'n_bytes', 'n_stored_bytes')
  local size = math.max(0, tonumber(sizes[1] or 0) or 0, tonumber(sizes[2] or 0) or 0)
  return size < 2^53 and size or 0
end

-- The running total of a tenant's data sets; nothing if there is none, or what is there cannot be one.
local function known_bytes(total)
  local found = redis.pcall('GET', total)
  return type(found) == 'string' and string.match(found, '^%d+$') and #found < 16 and tonumber(found)
end

-- How many bytes all data sets of a tenant have together. Where there is no running total, they are counted, and it
-- begins. It ends an hour later, so that what an older release added or deleted meanwhile is counted then.
local function bytes_of(total, datasets, prefix)
  local known = known_bytes(total)
  if known then
    return known
  end
  local counted = 0
  for _, id in ipairs(redis.call('ZRANGE', datasets, 0, -1)) do
    counted = counted + size_of(prefix .. id)
  end
  redis.call('SET', total, string.format('%.0f', counted), 'EX', 3600)
  return counted
end

-- Change the running total of a tenant's data sets, if there is one.
local function add_bytes(total, n_bytes)
  local known = known_bytes(total)
  if known then
    redis.call('SET', total, string.format('%.0f', known + n_bytes), 'KEEPTTL')
  end
end

-- Remember that the tenant of a key has something, so that the workers look after it.
local function note_tenant(key)
  local tenant = string.match(key, '^perceptron:t:([^:]+):')
  if tenant then
    redis.call('SADD', TENANTS, tenant)
  end
end

-- Raise an error that names the key, unless the key is free or holds this type. A script that fails half-way keeps what
-- it has written, so call this before the first write.
local function must_be(kind, key)
  local found = redis.call('TYPE', key)['ok']
  if found ~= kind and found ~= 'none' then
    error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. kind)
  end
end

-- Move a job from one state's sorted set to another's, keeping its time of creation.
-- Remove it first, then add it: when memory is full, the server refuses the first command that may need memory, but
-- allows everything once the script has written something. So a job can be cancelled, fail and be handed back even
-- when there is no memory left.
local function move(job, from, to)
  must_be('zset', from)
  must_be('zset', to)
  local created_at_ms = redis.call('ZSCORE', from, id_of(job)) or 0
  redis.call('ZREM', from, id_of(job))
  redis.call('ZADD', to, created_at_ms, id_of(job))
end

-- Let the script go on when memory is full, for the same reason. Use it only before writes that need next to none.
local function even_when_full(key)
  redis.call('HDEL', key, '')
end

-- Whether the attempt runs the job now.
local function owns(job, attempt)
  return redis.call('HGET', job, 'status') == 'running' and redis.call('HGET', job, 'attempt') == attempt
end

-- Whether the attempt has brought the job into this state already: then its command was sent twice.
local function has_ended_as(job, status, attempt)
  return redis.call('HGET', job, 'status') == status and redis.call('HGET', job, 'attempt') == attempt
end

-- Tell the API processes that a model's versions or aliases have changed. The key is any one of its tenant.
local function tell_model(key, name)
  redis.call('PUBLISH', CHANGES, 'model ' .. owned(key, name))
end

-- Tell the API processes that an access key was made or has changed, or will end at another time.
local function tell_access(state, new, key)
  redis.call('SET', state, new)
  redis.call('PUBLISH', CHANGES, 'access ' .. id_of(key))
end

-- Delete a key that holds another type of value than what is about to be written there.
local function only_as(key, kind)
  local found = redis.call('TYPE', key)['ok']
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
  end
end

-- Add an event to the job's stream, and wake the clients that wait for one.
local function note(job, kind, data)
  only_as(job .. ':events', 'stream')
  redis.call('XADD', job .. ':events', 'MAXLEN', '~', MAX_EVENTS, '*', 'type', kind, 'data', data)
  redis.call('PUBLISH', CHANGES, 'job ' .. owned(job, id_of(job)) .. ' ' .. redis.call('HGET', job, 'status'))
end

-- Add to a counter of the metrics. No step fails because of it.
local function count(name, n)
  if n > 0 then
    redis.pcall('HINCRBY', COUNTERS, name, n)
  end
end

-- Count the epochs between the last progress of a job and this one, both as JSON. Call it before the new one is
-- written: sent twice, it counts nothing the second time.
local function count_epochs(job, progress)
  local before = string.match(redis.call('HGET', job, 'progress') or '', '"epoch":(%d+)')
  local now = string.match(progress, '"epoch":(%d+)')
  count('epochs', tonumber(now or 0) - tonumber(before or 0))
end

-- Put a job into the outbox, or give it another due time there.
local function put_into_outbox(id, due_at_ms)
  for _, key in ipairs({WEBHOOK_OUTBOX, WEBHOOKS_DUE}) do
    only_as(key, 'zset')
    redis.call('ZADD', key, due_at_ms, id)
  end
end

local function drop_from_outbox(id)
  for _, key in ipairs({WEBHOOK_OUTBOX, WEBHOOKS_DUE}) do
    only_as(key, 'zset')
    redis.call('ZREM', key, id)
  end
end

-- Put the end of a job that has a webhook into the outbox, to be delivered at once.
local function tell_webhook(job)
  if redis.call('HGET', job, 'webhook') then
    put_into_outbox(owned(job, id_of(job)), now_ms())
  end
end

-- Return whether the end of a job has yet to be told to its webhook. If not, the job leaves the outbox, and the second
-- value says what is wrong with it; none if it was forgotten, or delivered by another process.
local function has_to_be_told(job, id)
  local state = redis.pcall('HMGET', job, 'status', 'webhook', 'webhook_delivered_at_ms')
  if state.err then
    return true  -- of another type, which whoever reads the job reports
  end
  local is_done = state[1] and state[1] ~= 'queued' and state[1] ~= 'running'
  if is_done and state[2] and not state[3] then
    return true
  end
  drop_from_outbox(id)
  if state[1] and not is_done then
    return false, 'is ' .. state[1]
  end
  return false, state[1] and not state[2] and 'has no webhook'
end

-- Count the change of the record, and add its new state as an event, with the reason. Once the job is done,
-- the best network so far is deleted, and its webhook has to be told.
local function note_status(job, reason)
  count(reason, 1)
  redis.call('HINCRBY', job, 'revision', 1)
  local state = redis.call('HMGET', job, 'status', 'attempt', 'version')
  if state[1] ~= 'queued' and state[1] ~= 'running' then
    redis.call('DEL', job .. ':best')
    tell_webhook(job)
  end
  local version = state[3] and tonumber(state[3]) or nil
  note(job, 'status', cjson.encode({status = state[1], attempt = tonumber(state[2]), reason = reason, version = version}))
end
