-- One topic: its keys, its marker, its counters, and what is remembered of the last batch. The first part of
-- every script.
--
-- KEYS are the same for all scripts, and all of one topic, so of one slot:
--
--   META      hash    marker, settings and counters
--   LIST      list    what is ready and needs nothing but its turn, body and all: its place, then the body
--   BODIES    hash    id -> body of everything else
--   STATES    hash    id -> what it is doing
--   FAILURES  hash    id -> what went wrong
--   READY     zset    what else can be delivered, by rank: 'm' and an id, or 'g' and a group
--   DEAD      zset    the same of the dead
--   DUE       zset    what ends by itself, by time: an id and which end
--   LINES     zset    what waits in groups: a group, a place, an id; by their bytes
--   GROUPS    hash    group -> its unsettled message, its rank
--   DEDUPE    hash    deduplication key -> message, digest, when it is forgotten
--   FORGET    zset    deduplication keys by when they are forgotten
--   IDS       zset    part and id of all that is not in LIST; by their bytes, so by age
--   LAST      string  the sender's last batch, and what it was answered
--
-- ARGV begins with the marker, the number of the batch (empty: it has none), how many ends are cleared away,
-- how many messages one call moves. Ids are 11 bytes that sort as the messages were pushed.
--
-- Nothing is half written: Redis looks at its memory, its role and its disk before a script begins (the flags
-- in the first line), and never in its middle.
local META, LIST, BODIES, STATES, FAILURES, READY, DEAD, DUE, LINES, GROUPS, DEDUPE, FORGET, IDS, LAST =
  unpack(KEYS)
local MARKER, BATCH, ENDS_MAX, STEP_MAX = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local REMEMBERED_MS = 3600000

local now, number = clock()

-- How the bytes of ARGV that stand for "no value" read.
local NONE = 281474976710655

-- The order of the settings, here and in their encoding by the node.
local SETTINGS = {
  'visibility_ms', 'deliveries_max',
  'nack_growth', 'nack_base_ms', 'nack_max_ms', 'nack_jitter_percent',
  'timeout_growth', 'timeout_base_ms', 'timeout_max_ms', 'timeout_jitter_percent',
  'paused', 'messages_max', 'ttl_ms', 'expired_are_dead', 'dedupe_window_ms',
}

-- Of each part (m: main, d: dead): how many are ready, delayed, in flight (r, d, f), their bytes, the places
-- that were given out.
local COUNTERS = {
  'seq', 'pushed', 'duplicates', 'delivered', 'given_back', 'acked', 'nacked', 'timed_out', 'died', 'redriven',
  'expired', 'purged', 'mr', 'md', 'mf', 'm_bytes', 'm_first', 'm_end', 'dr', 'dd', 'df', 'd_bytes', 'd_first',
  'd_end', 'holes',
}

local function unpack_named(names, packed)
  local values, named = cmsgpack.unpack(packed), {}
  for at = 1, #names do named[names[at]] = values[at] end
  return named
end

local function pack_named(names, named)
  local values = {}
  for at = 1, #names do values[at] = named[names[at]] end
  return cmsgpack.pack(values)
end

-- What is wrong with the marker; nil: nothing. A marker is the cluster, the Redis and the topic.
local function marker_fault(marker)
  if not marker then return 'REDISREPLACED the topic is not in this Redis' end
  if marker == MARKER then return nil end
  if marker == MARKER .. ' closed' then return 'TOPICCLOSED the topic was found empty and closed' end
  local theirs, ours = marker:match('^(%S+ %S+) '), MARKER:match('^(%S+ %S+) ')
  if theirs == ours then return 'TOPICMOVED the topic was closed or made anew' end
  return 'REDISREPLACED the topic belongs to another cluster or Redis'
end

local stored = redis.call('HMGET', META, 'marker', 'settings', 'counters')
local fault = marker_fault(stored[1])
if fault then return redis.error_reply(fault) end
local settings, counters = unpack_named(SETTINGS, stored[2]), unpack_named(COUNTERS, stored[3])

-- The answer to this batch, if it is here for the second time.
local repeated
if BATCH ~= '' then
  local last = redis.call('GET', LAST)
  if last then
    local batch, reply = cmsgpack.unpack(last)
    if batch == BATCH then repeated = reply end
    if tonumber(batch) > tonumber(BATCH) then
      return redis.error_reply('OLDBATCH a later batch of this sender was done')
    end
  end
end

-- What the sender is told of the topic: how much can be delivered, and when the next thing ends.
local function answer(reply)
  local ready = redis.call('ZCARD', READY) + redis.call('LLEN', LIST) - counters.holes
  if settings.paused == 1 then ready = 0 end
  local due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
  local forget = redis.call('ZRANGE', FORGET, 0, 0, 'WITHSCORES')[2]
  due, forget = tonumber(due or -1), tonumber(forget or -1)
  if due < 0 or (forget >= 0 and forget < due) then due = forget end
  return { ready, redis.call('ZCARD', DEAD), due, now, reply }
end

-- Ends a script that may have changed something. What changed nothing is not remembered: done once more it
-- does what it would have done. `remembered`: instead of the reply.
local function finish(reply, remembered)
  local packed = pack_named(COUNTERS, counters)
  if packed ~= stored[3] then
    redis.call('HSET', META, 'counters', packed)
    if BATCH ~= '' then
      redis.call('SET', LAST, cmsgpack.pack(BATCH, remembered or reply), 'PX', REMEMBERED_MS)
    end
  end
  return answer(reply)
end

local function count(name, by)
  counters[name] = counters[name] + (by or 1)
end

-- A call with any number of arguments: Lua passes a few thousand at once. The chunk is a multiple of what
-- commands take at a time.
local CHUNK = 3000
local function call(command, key, args)
  for from = 1, #args, CHUNK do
    redis.call(command, key, unpack(args, from, math.min(from + CHUNK - 1, #args)))
  end
end
