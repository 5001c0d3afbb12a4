-- Now, in milliseconds, and a number that rises with time: what messages are numbered by. Redis' clock, so
-- that all nodes mean the same. Tests put another function here.
local function clock()
  local time = redis.call('TIME')
  local us = time[1] * 1000000 + time[2]
  return math.floor(us / 1000), us
end
