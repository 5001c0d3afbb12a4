-- Changes settings. ARGV: a value for each, empty: as it is. Reply: the settings as they are now.
if repeated then return answer(repeated) end
advance()

for at, name in ipairs(SETTINGS) do
  settings[name] = tonumber(ARGV[4 + at]) or settings[name]
end
redis.call('HSET', META, 'settings', pack_named(SETTINGS, settings))
local reply = {}
for at, name in ipairs(SETTINGS) do reply[at] = settings[name] end
return finish(reply)
