-- Pushes messages: each is judged for itself, in its order. The same as dsync_core's queue/push.rs.
--
-- ARGV: most bytes of a message, most deduplication keys of the topic, how many messages; of each its body and
-- what is said of it (empty: nothing; else delay, time to live, priority, group, key, digest).
-- Reply: the number of this push; of each message its position, or a text: 'D' and the id of which it is a
-- duplicate, or why it was not
-- taken: 'O' the key came with other content, 'L' too long, 'M' and the limit of the topic's messages, 'K' too
-- many keys.
if repeated then return answer(repeated) end
advance()

local MESSAGE_BYTES_MAX, KEYS_MAX = tonumber(ARGV[5]), tonumber(ARGV[6])
local WORDS = '>I6I6BHc0Hc0Hc0'
local seq, made = math.max(counters.seq + 1, number), 0
local entries, bodies = {}, {}

-- What is known of a key: its message and its digest.
local function known(key)
  local packed = redis.call('HGET', DEDUPE, key)
  if not packed then return nil end
  local id, digest, forget = unpack(cmsgpack.unpack(packed))
  if forget > now then return id, digest end
end

local function remember(key, id, digest)
  local forget = now + settings.dedupe_window_ms
  redis.call('HSET', DEDUPE, key, cmsgpack.pack({ id, digest, forget }))
  redis.call('ZADD', FORGET, forget, key)
end

local function refusal(bytes, key)
  if bytes > MESSAGE_BYTES_MAX then return 'L' end
  local there = counters.mr + counters.md + counters.mf
  if settings.messages_max > 0 and there >= settings.messages_max then
    return 'M' .. string.format('%.0f', settings.messages_max)
  end
  if key ~= '' and redis.call('HLEN', DEDUPE) >= KEYS_MAX then return 'K' end
end

local function put_plain(id, body)
  local place = next_place('m', false)
  entries[#entries + 1] = id .. struct.pack('>I6I6', place + PLACE_ZERO, now) .. body
  count('mr')
  count('m_bytes', content_bytes(body, 0, now))
end

local function put(id, body, m, delay)
  bodies[#bodies + 1], bodies[#bodies + 2] = id, body
  enter(id, m)
  if delay > 0 then stand_delayed(id, m, now + delay, 0) else stand_ready(id, m, 'new') end
end

local function push(body, words)
  local delay, ttl, priority, group, key, digest = 0, NONE, 0, '', '', ''
  if words ~= '' then delay, ttl, priority, group, key, digest = struct.unpack(WORDS, words) end
  if ttl == NONE then ttl = settings.ttl_ms end
  if key ~= '' then
    local before, said = known(key)
    if before and said ~= digest then return 'O' end
    if before then
      count('duplicates')
      return 'D' .. before
    end
  end
  local refused = refusal(content_bytes(body, ttl, now), key)
  if refused then return refused end
  local position = made
  local id = pack_id(seq, position)
  made = made + 1
  counters.seq = seq
  count('pushed')
  if delay == 0 and ttl == 0 and priority == 0 and group == '' then
    put_plain(id, body)
  else
    put(id, body, new_message(body, priority, group, ttl, now), delay)
  end
  if key ~= '' then remember(key, id, digest) end
  return position
end

local reply = { seq }
for item = 1, tonumber(ARGV[7]) do
  reply[#reply + 1] = push(ARGV[6 + 2 * item], ARGV[7 + 2 * item])
end
call('HSET', BODIES, bodies)
call('RPUSH', LIST, entries)
return finish(reply)
