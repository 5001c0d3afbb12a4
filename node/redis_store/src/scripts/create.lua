-- Makes a topic that the log says is being made, or that is missing in a Redis that was adopted. Not with
-- topic.lua before it.
--
-- ARGV: its marker; the marker that may stand there instead (empty: none), which is then replaced while
-- everything else stays (a Redis that came back from a backup); a value for each of the settings, of the
-- counters a zero.
-- Reply: 'A' made, 'K' it was there, 'R' its marker was replaced.
local META, MARKER, BEFORE = KEYS[1], ARGV[1], ARGV[2]
local SETTINGS_COUNT, COUNTERS_COUNT = 15, 25

local marker = redis.call('HGET', META, 'marker')
if marker == MARKER then return 'K' end
if marker and marker == BEFORE then
  redis.call('HSET', META, 'marker', MARKER)
  return 'R'
end
if marker and marker:sub(-7) == ' closed' and marker ~= MARKER .. ' closed' then
  -- The log has deleted that one, and whoever asked for it has died before its keys were taken away.
  redis.call('UNLINK', unpack(KEYS))
  marker = false
end
if marker then return redis.error_reply('TOPICMOVED another topic stands under this name') end

local settings, counters = {}, {}
for at = 1, SETTINGS_COUNT do settings[at] = tonumber(ARGV[2 + at]) end
for at = 1, COUNTERS_COUNT do counters[at] = 0 end
redis.call(
  'HSET', META, 'marker', MARKER, 'settings', cmsgpack.pack(settings), 'counters', cmsgpack.pack(counters)
)
return 'A'
