-- Let the service's clock follow the server's clock, but by no more than one step: that may have leapt.
-- KEYS: clock. ARGV: the longest step in ms. Returns the service's time in ms.
only_as(KEYS[1], 'hash')
local now = now_ms()
local state = redis.call('HMGET', KEYS[1], 'server_ms', 'service_ms')
local passed = now - (tonumber(state[1] or now) or now)
local step = math.max(0, math.min(passed, tonumber(ARGV[1])))
local time = (tonumber(state[2] or now) or now) + step
redis.call('HSET', KEYS[1], 'server_ms', now, 'service_ms', time)
return time
