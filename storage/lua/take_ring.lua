-- Take the ring that waits longest, with RQ's record of it.
-- KEYS: the list of rings. ARGV: prefix of the records' keys. Returns the ring's id, or nothing.
local ring = redis.call('LPOP', KEYS[1])
if ring then
  redis.call('DEL', ARGV[1] .. ring)
end
return ring
