-- One message: how it is written, and where it is found.
--
-- Who is ready, was never delivered and has no priority, group or time to live stands in LIST; both its id and
-- its place rise along it. Everything else has an entry in BODIES and STATES. What is taken out of the middle
-- of LIST leaves a hole: its head without a body.
--
-- A body is an encoded Content without its last two numbers, the time to live and the time of the push, which
-- are known here alone.

local HEAD, HEAD_BYTES, PLACE_ZERO = '>I7I4I6I6', 23, 140737488355328

local function pack_id(index, position)
  return struct.pack('>I7I4', index, position)
end

-- How many bytes a number takes where it is encoded with seven bits a byte.
local function varint_bytes(value)
  local bytes = 1
  while value >= 128 do
    value, bytes = math.floor(value / 128), bytes + 1
  end
  return bytes
end

local function content_bytes(body, ttl, pushed)
  return #body + varint_bytes(ttl) + varint_bytes(pushed)
end

-- Most messages in flight are on their first delivery and have nothing special: those are written shorter, and
-- without a table of their own.
local PLAIN, PLAIN_FORM = 'P', '>c1c20c8I6I6I6I4Hc0Hc0'

local function pack_plain(delivery, pushed, bytes)
  return struct.pack(
    PLAIN_FORM, PLAIN, delivery[1], delivery[2], delivery[5], delivery[6], pushed, bytes, #delivery[3], delivery[3],
    #delivery[4], delivery[4]
  )
end

-- The bytes of a message that is written so, if this delivery of it lives; without unpacking the rest.
local function plain_bytes_if_live(packed, receipt)
  if type(packed) ~= 'string' or packed:byte() ~= 80 or packed:sub(2, 21) ~= receipt then return nil end
  local ends, _, bytes = struct.unpack('>I6I6I4', packed, 36)
  return ends > now and bytes or nil
end

local function is_plain(m)
  return m.state == 'f' and m.part == 'm' and m.deliveries == 1 and m.expires == 0 and m.failed == 0
    and m.priority == 0 and m.group == '' and m.ttl == 0
end

local function unpack_plain(packed)
  local _, receipt, sender, since, ends, pushed, bytes, principal, consumer = struct.unpack(PLAIN_FORM, packed)
  return {
    part = 'm', state = 'f', deliveries = 1, expires = 0, bytes = bytes, reason_bytes = 0, failed = 0, priority = 0,
    group = '', ttl = 0, pushed = pushed, place = 0, till = 0, retry = 0,
    delivery = { receipt, sender, principal, consumer, since, ends }, death = 0,
  }
end

local function pack_message(m)
  if is_plain(m) then return pack_plain(m.delivery, m.pushed, m.bytes) end
  return cmsgpack.pack({
    m.part, m.state, m.deliveries, m.expires, m.bytes, m.reason_bytes, m.failed, m.priority, m.group, m.ttl,
    m.pushed, m.place, m.till, m.retry, m.delivery, m.death,
  })
end

local function unpack_message(packed)
  if packed:byte() == 80 then return unpack_plain(packed) end
  local v = cmsgpack.unpack(packed)
  return {
    part = v[1], state = v[2], deliveries = v[3], expires = v[4], bytes = v[5], reason_bytes = v[6],
    failed = v[7], priority = v[8], group = v[9], ttl = v[10], pushed = v[11], place = v[12], till = v[13],
    retry = v[14], delivery = v[15], death = v[16],
  }
end

-- A message that nothing has happened to. `expires`: 0, never.
local function new_message(body, priority, group, ttl, pushed)
  return {
    part = 'm', state = 'r', deliveries = 0, expires = ttl > 0 and pushed + ttl or 0,
    bytes = content_bytes(body, ttl, pushed), reason_bytes = 0, failed = 0, priority = priority, group = group,
    ttl = ttl, pushed = pushed, place = 0, till = 0, retry = 0, delivery = 0, death = 0,
  }
end

-- What was read or written of STATES: a message, one that was not unpacked yet, or false: there is none.
local states = {}

local function load(id)
  local m = states[id]
  if m == nil then m = redis.call('HGET', STATES, id) end
  if type(m) == 'string' then m = unpack_message(m) end
  states[id] = m
  return m
end

local function prefetch(ids)
  for from = 1, #ids, CHUNK do
    local to = math.min(from + CHUNK - 1, #ids)
    local packed = redis.call('HMGET', STATES, unpack(ids, from, to))
    for at = from, to do
      if states[ids[at]] == nil then states[ids[at]] = packed[at - from + 1] end
    end
  end
end

local function save(id, m)
  redis.call('HSET', STATES, id, pack_message(m))
  states[id] = m
end

-- What counts for limits.
local function bytes_of(m)
  return m.bytes + m.reason_bytes
end

local function has_expired(m)
  return m.part == 'm' and m.expires > 0 and m.expires <= now
end

-- An entry of LIST. `body` is nil in a hole.
local function parse_entry(entry)
  local index, position, place, pushed = struct.unpack(HEAD, entry)
  local body
  if #entry > HEAD_BYTES then body = entry:sub(HEAD_BYTES + 1) end
  return { id = entry:sub(1, 11), place = place - PLACE_ZERO, pushed = pushed, body = body }
end

-- The first entry of LIST with at least this id: where, and what. Not an id of a hole only.
local function list_seek(id)
  local low, high = 0, redis.call('LLEN', LIST)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('LINDEX', LIST, middle):sub(1, 11) < id then low = middle + 1 else high = middle end
  end
  return low, redis.call('LINDEX', LIST, low)
end

local function list_find(id)
  local at, entry = list_seek(id)
  if entry and #entry > HEAD_BYTES and entry:sub(1, 11) == id then return at, parse_entry(entry) end
end
