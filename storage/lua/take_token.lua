-- Take one request from each of some buckets, or from none: a bucket holds as many as may come in a second, and fills up
-- in a second.
-- KEYS: buckets. ARGV: how many requests each may take in a second.
-- Returns 0, or the number of the first bucket that is empty.
local tokens = {}
for k, key in ipairs(KEYS) do
  only_as(key, 'hash')
  local state = redis.call('HMGET', key, 'tokens', 'at_ms')
  local most = tonumber(ARGV[k])
  local passed_ms = math.max(0, now_ms() - (tonumber(state[2] or 0) or 0))
  tokens[k] = math.min(most, (tonumber(state[1] or most) or most) + passed_ms * most / 1000)
  if tokens[k] < 1 then
    return k
  end
end
for k, key in ipairs(KEYS) do
  redis.call('HSET', key, 'tokens', tostring(tokens[k] - 1), 'at_ms', now_ms())
  redis.call('EXPIRE', key, 2)
end
return 0
