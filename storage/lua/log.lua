-- Add a line to the events of the job.
-- KEYS: job. ARGV: attempt, event as JSON. Returns 1, or 0 when the attempt no longer owns the job.
if not owns(KEYS[1], ARGV[1]) then
  return 0
end
note(KEYS[1], 'log', ARGV[2])
return 1
