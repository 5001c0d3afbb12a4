-- Takes a closed topic's keys away, after the log has deleted it. Not with topic.lua before it. ARGV: its
-- marker. Reply: 'A', or 'S': it is not there, or another one.
if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] .. ' closed' then return 'S' end
redis.call('UNLINK', unpack(KEYS))
return 'A'
