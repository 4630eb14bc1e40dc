-- Take the oldest queue entry and delete RQ's record of it.
-- KEYS: RQ's list of entries. ARGV: prefix of the keys of RQ's records. Returns the entry's id, or nothing.
local entry = redis.call('LPOP', KEYS[1])
if entry then
  redis.call('UNLINK', ARGV[1] .. entry)
end
return entry
