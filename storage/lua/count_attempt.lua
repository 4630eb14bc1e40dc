-- Note one more attempt in the record that RQ keeps of a worker, unless that has expired: nobody would delete a new one.
-- KEYS: worker. ARGV: the field that counts it, how many seconds it took. Returns 1, or 0 without such a record.
if redis.call('TYPE', KEYS[1])['ok'] ~= 'hash' then
  return 0
end
redis.pcall('HINCRBY', KEYS[1], ARGV[1], 1)
local working_s = tonumber(redis.call('HGET', KEYS[1], 'total_working_time') or 0) or 0
redis.call('HSET', KEYS[1], 'total_working_time', string.format('%.6f', working_s + tonumber(ARGV[2])))
return 1
