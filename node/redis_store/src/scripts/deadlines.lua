-- What ends by itself: the same as dsync_core's queue/deadlines.rs. At the head of every script that changes
-- something, so that nothing waits for a node that has died.

local function clear(id, what)
  local m = load(id)
  if what == 'a' then
    count('timed_out')
    fail(id, m, 't', '', nil)
  elseif what == 'b' then
    local comes = m.retry == 1 and 'again' or 'new'
    detach(id, m)
    stand_ready(id, m, comes)
  else
    expire(id, m)
  end
end

-- Clears what has ended, in the order of the ends, and at most ENDS_MAX. One end may undo another.
local function clear_ends()
  local left = ENDS_MAX
  while left > 0 do
    local ends = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, left)
    if #ends == 0 then return end
    for at, member in ipairs(ends) do
      if at == 1 or redis.call('ZSCORE', DUE, member) then
        clear(member:sub(1, 11), member:sub(12))
        left = left - 1
      end
    end
  end
end

local function forget_keys()
  local keys = redis.call('ZRANGEBYSCORE', FORGET, '-inf', now, 'LIMIT', 0, ENDS_MAX)
  if #keys > 0 then
    call('ZREM', FORGET, keys)
    call('HDEL', DEDUPE, keys)
  end
end

local function advance()
  clear_ends()
  forget_keys()
end
