-- Moves dead messages back, as if they had just been pushed.
--
-- ARGV: 'all' and before which place (empty: all that are there now), or 'these', how many and their ids.
-- Reply: of all how many, before which place there is more (empty: nothing), and '' or 'M' and the limit if
-- the main part is full; of these for each 'A' moved, 'S' no such dead message, or 'M' and the limit.
if repeated then return answer(repeated) end
advance()

local function full()
  local there = counters.mr + counters.md + counters.mf
  return settings.messages_max > 0 and there >= settings.messages_max
end

local function move_back(id, m)
  if full() then return 'M' .. string.format('%.0f', settings.messages_max) end
  leave(id, m)
  if m.failed == 1 then redis.call('HDEL', FAILURES, id) end
  m.part, m.death, m.deliveries, m.failed, m.reason_bytes = 'm', 0, 0, 0, 0
  m.expires = m.ttl > 0 and now + m.ttl or 0
  count('redriven')
  enter(id, m)
  stand_ready(id, m, 'new')
  return 'A'
end

local function first_dead(before)
  local head = redis.call('ZRANGEBYSCORE', DEAD, '-inf', '(' .. string.format('%.0f', rank_of({ part = 'd' }, before)),
    'LIMIT', 0, 1)[1]
  return head and head:sub(2)
end

local function all(before)
  before = before or counters.d_end
  local messages, why, id = 0, '', first_dead(before)
  while id and messages < STEP_MAX and why == '' do
    local moved = move_back(id, load(id))
    if moved == 'A' then messages = messages + 1 else why = moved end
    id = first_dead(before)
  end
  return { messages, id and string.format('%.0f', before) or '', why }
end

local function one(id)
  local m = load(id)
  if not m or m.part ~= 'd' or m.state == 'f' then return 'S' end
  return move_back(id, m)
end

if ARGV[5] == 'all' then return finish(all(tonumber(ARGV[6]))) end
local reply = {}
for at = 1, tonumber(ARGV[6]) do reply[at] = one(ARGV[6 + at]) end
return finish(reply)
