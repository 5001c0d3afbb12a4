-- Moving messages: the only code that puts them in, takes them out, or changes what they are doing, so that
-- every index stays true. The same as dsync_core's queue/lifecycle.rs, groups.rs and backoff.rs; LIST is the
-- other place of plain messages, see push.lua and receive.lua.

local RANK_STEP, RANK_ZERO = 562949953421312, 281474976710656

local function ready_of(part)
  return part == 'm' and READY or DEAD
end

-- The dead have no group and no priority: they wait in the order of their deaths.
local function group_of(m)
  return m.part == 'm' and m.group or ''
end

local function rank_of(m, place)
  local priority = m.part == 'm' and m.priority or 0
  return (9 - priority) * RANK_STEP + RANK_ZERO + place
end

local function rank_priority(rank)
  return 9 - math.floor(rank / RANK_STEP)
end

-- A place beyond all that were given out.
local function next_place(part, head)
  if head then
    count(part .. '_first', -1)
    return counters[part .. '_first']
  end
  count(part .. '_end')
  return counters[part .. '_end'] - 1
end

-- The first of READY, until that changes.
local ready_head

local function ready_put(part, member, rank)
  redis.call('ZADD', ready_of(part), rank, member)
  ready_head = nil
end

local function ready_take(part, member)
  redis.call('ZREM', ready_of(part), member)
  ready_head = nil
end

local function due_put(id, what, at)
  redis.call('ZADD', DUE, at, id .. what)
end

local function due_take(id, what)
  redis.call('ZREM', DUE, id .. what)
end

-- Groups that were looked at: { unsettled = id or false, rank = rank or false }.
local groups = {}

local function load_group(name)
  if not groups[name] then
    local packed = redis.call('HGET', GROUPS, name)
    local unsettled, rank = false, false
    if packed then unsettled, rank = unpack(cmsgpack.unpack(packed)) end
    groups[name] = { unsettled = unsettled, rank = rank }
  end
  return groups[name]
end

-- A name has no control characters, so a zero ends it.
local function line_member(group, place, id)
  return group .. '\0' .. struct.pack('>I6', place + PLACE_ZERO) .. id
end

local function group_first(name)
  local line = redis.call('ZRANGEBYLEX', LINES, '[' .. name .. '\0', '(' .. name .. '\1', 'LIMIT', 0, 1)[1]
  return line and line:sub(-11) or false
end

-- Puts a group where it belongs after a change: it can be delivered if something waits and nothing is
-- unsettled. `head`: where, if it was not there.
local function refresh_group(name, head)
  local group, first = load_group(name), group_first(name)
  local before, after = group.rank, false
  if first and not group.unsettled then
    local m = load(first)
    local stays = before and rank_priority(before) == m.priority
    after = stays and before or rank_of(m, next_place('m', head))
  end
  if before and not after then ready_take('m', 'g' .. name) end
  if after and after ~= before then ready_put('m', 'g' .. name, after) end
  -- It may stand where it stood, with another message at its head.
  group.rank, ready_head = after, nil
  if first or group.unsettled then
    redis.call('HSET', GROUPS, name, cmsgpack.pack({ group.unsettled, group.rank }))
  else
    redis.call('HDEL', GROUPS, name)
  end
end

local function waits_for_ttl(m)
  return m.expires > 0 and m.part == 'm' and m.state ~= 'f'
end

local function is_unsettled(m)
  return m.state == 'f' or (m.state == 'd' and m.retry == 1)
end

-- Takes a message out of every index. Its group is looked at again when it has gone where it goes.
local function detach(id, m)
  local group = group_of(m)
  if m.state == 'r' and group == '' then
    ready_take(m.part, 'm' .. id)
  elseif m.state == 'r' then
    redis.call('ZREM', LINES, line_member(group, m.place, id))
  else
    due_take(id, m.state == 'd' and 'b' or 'a')
  end
  if waits_for_ttl(m) then due_take(id, 'c') end
  if group ~= '' and is_unsettled(m) then load_group(group).unsettled = false end
  count(m.part .. m.state, -1)
  count(m.part .. '_bytes', -bytes_of(m))
end

-- Puts a message that has its state into every index. `back`: its group comes before all others.
local function attach(id, m, back)
  local group = group_of(m)
  if m.state == 'r' and group == '' then
    ready_put(m.part, 'm' .. id, rank_of(m, m.place))
  elseif m.state == 'r' then
    redis.call('ZADD', LINES, 0, line_member(group, m.place, id))
  elseif m.state == 'd' then
    due_put(id, 'b', m.till)
  else
    due_put(id, 'a', m.delivery[6])
  end
  if waits_for_ttl(m) then due_put(id, 'c', m.expires) end
  if group ~= '' and is_unsettled(m) then load_group(group).unsettled = id end
  count(m.part .. m.state)
  count(m.part .. '_bytes', bytes_of(m))
  save(id, m)
  if group ~= '' then refresh_group(group, back) end
end

-- `comes`: 'new', 'again' (before those of its group) or 'back' (before all others).
local function stand_ready(id, m, comes)
  local head = comes == 'back' or (comes == 'again' and group_of(m) ~= '')
  m.state, m.delivery, m.till, m.retry = 'r', 0, 0, 0
  m.place = next_place(m.part, head)
  attach(id, m, comes == 'back')
end

local function stand_delayed(id, m, till, retry)
  m.state, m.delivery, m.till, m.retry = 'd', 0, till, retry
  attach(id, m)
end

local function stand_in_flight(id, m, delivery)
  m.state, m.delivery, m.till, m.retry = 'f', delivery, 0, 0
  attach(id, m)
end

-- Takes it out of its part. Its body stays.
local function leave(id, m)
  detach(id, m)
  redis.call('ZREM', IDS, m.part .. id)
  if group_of(m) ~= '' then refresh_group(group_of(m), false) end
end

local function enter(id, m)
  redis.call('ZADD', IDS, 0, m.part .. id)
end

-- Takes it out of the topic.
local function drop(id, m)
  leave(id, m)
  redis.call('HDEL', BODIES, id)
  redis.call('HDEL', STATES, id)
  if m.failed == 1 then redis.call('HDEL', FAILURES, id) end
  states[id] = false
end

local function die(id, m, cause)
  leave(id, m)
  m.part, m.death, m.deliveries = 'd', { cause, m.deliveries, now }, 0
  count('died')
  enter(id, m)
  stand_ready(id, m, 'new')
end

-- A message of the main part is not wanted any more.
local function expire(id, m)
  if settings.expired_are_dead == 1 then
    die(id, m, 'e')
    return 'X'
  end
  drop(id, m)
  count('expired')
  return 'E'
end

local SPREAD_END = 65536

-- A number that differs between neighbouring messages and deliveries.
local function spread(id, deliveries)
  local index, position = struct.unpack('>I7I4', id)
  local mixed = 0
  for _, part in ipairs({ index, position, deliveries }) do
    mixed = ((mixed + part % SPREAD_END) * 40503 + 30011) % SPREAD_END
  end
  return mixed
end

local function backoff(kind, id, deliveries)
  local growth, times = settings[kind .. '_growth'], 1
  if growth == 1 then times = math.max(deliveries, 1) end
  if growth == 2 then times = 2 ^ math.min(math.max(deliveries - 1, 0), 40) end
  local delay = math.min(settings[kind .. '_base_ms'] * times, settings[kind .. '_max_ms'])
  local off = math.floor(delay * settings[kind .. '_jitter_percent'] / 100)
  return delay - math.floor(off * spread(id, deliveries) / SPREAD_END)
end

local function note_failure(id, m, cause, reason)
  local failure = { cause, reason, m.deliveries, now }
  local first = failure
  if m.failed == 1 then
    local before = cmsgpack.unpack(redis.call('HGET', FAILURES, id))
    first = { before[1], before[2], before[3], before[4] }
  end
  local both = { first[1], first[2], first[3], first[4], cause, reason, m.deliveries, now }
  redis.call('HSET', FAILURES, id, cmsgpack.pack(both))
  local reason_bytes = #first[2] + #reason
  count(m.part .. '_bytes', reason_bytes - m.reason_bytes)
  m.failed, m.reason_bytes = 1, reason_bytes
end

local function come_again(id, m, delay)
  detach(id, m)
  if delay == 0 then
    stand_ready(id, m, 'again')
  else
    stand_delayed(id, m, now + delay, 1)
  end
end

-- A delivery went wrong ('n': nacked, 't': timed out, 'r': rejected). What has become of the message: 'N' and
-- the delay, 'X': it is dead, 'E': it was dropped. What is dead already stays so.
local function fail(id, m, cause, reason, delay)
  note_failure(id, m, cause, reason)
  if m.part == 'd' then
    come_again(id, m, delay or 0)
    return cause == 'r' and 'X' or 'N' .. (delay or 0)
  end
  local too_often = settings.deliveries_max > 0 and m.deliveries >= settings.deliveries_max
  if cause == 'r' or too_often then
    die(id, m, cause == 'r' and 'r' or 'm')
    return 'X'
  end
  if has_expired(m) then return expire(id, m) end
  delay = delay or backoff(cause == 't' and 'timeout' or 'nack', id, m.deliveries)
  come_again(id, m, delay)
  return 'N' .. string.format('%.0f', delay)
end
