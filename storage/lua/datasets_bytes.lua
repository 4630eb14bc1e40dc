-- Return how many bytes the data sets of a tenant have together, as text.
-- KEYS: data sets, their running total. ARGV: beginning of the key of a data set.
return string.format('%.0f', bytes_of(KEYS[2], KEYS[1], ARGV[1]))
