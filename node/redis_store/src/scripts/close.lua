-- Closes an empty topic, before the log deletes or moves it: from now on every script that names it changes
-- nothing. Reply: how many messages it holds; 0: it is closed.
advance()

local C = counters
local messages = C.mr + C.md + C.mf + C.dr + C.dd + C.df
if messages == 0 then redis.call('HSET', META, 'marker', MARKER .. ' closed') end
return finish(messages)
