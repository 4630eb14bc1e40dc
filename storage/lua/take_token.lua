-- Take one request from each of some buckets, or from none: a bucket holds as many as may come in a second, and fills up
-- in a second.
-- KEYS: buckets. ARGV: how many requests each may take in a second.
-- A bucket that was last used later than now is full: the clock was set back, and it would stay empty for as long.
-- Returns 0, or the number of the first bucket that is empty.
local tokens = {}
for k, key in ipairs(KEYS) do
  only_as(key, 'hash')
  local state = redis.call('HMGET', key, 'tokens', 'at_ms')
  local most = tonumber(ARGV[k])
  local passed_ms = now_ms() - (tonumber(state[2] or 0) or 0)
  local left = passed_ms < 0 and most or tonumber(state[1] or most) or most
  tokens[k] = math.min(most, left + math.max(0, passed_ms) * most / 1000)
  if tokens[k] < 1 then
    return k
  end
end
for k, key in ipairs(KEYS) do
  redis.call('HSET', key, 'tokens', tostring(tokens[k] - 1), 'at_ms', now_ms())
  redis.call('EXPIRE', key, 2)
end
return 0
