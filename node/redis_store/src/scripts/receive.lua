-- Delivers messages: receivers in their order, each up to its numbers. The same as dsync_core's
-- queue/receive.rs; what stands in LIST goes to the hashes in one call each.
--
-- A receipt is a number that the sender drew for this batch, the delivery's position in it, and a number that
-- the receiver's process drew: 128 random bits, which no Redis that was set back can give out once more.
--
-- ARGV: the part, the batch's random number (8 bytes), how many receivers; of each its boot (8 bytes), its
-- number (8 bytes), how many messages, how many bytes, the visibility (empty: as the topic says), principal
-- and consumer (empty: none).
-- Reply: the deliveries, each which receiver's it is, and its view.
local PART, RANDOM, PER_RECEIVER = ARGV[5], ARGV[6], 7

-- The same deliveries, as far as they live.
local function once_more(remembered)
  local views = {}
  for from = 1, #remembered, 33 do
    local receiver, id, receipt = struct.unpack('>I2c11c20', remembered, from)
    local m = load(id)
    if m and m.state == 'f' and m.delivery[1] == receipt then
      views[#views + 1] = { receiver, delivery_view(id, m) }
    end
  end
  return views
end

if repeated then return answer(once_more(repeated)) end
advance()

local made, expiries_left, left = 0, ENDS_MAX, STEP_MAX
if PART == 'm' and settings.paused == 1 then left = 0 end
local replies, remembered = {}, {}
-- What came from LIST, to be written in one call each.
local plain, bodies, packed_states, dues, ids = 0, {}, {}, {}, {}

local function first_ranked()
  if ready_head == nil then
    local head = redis.call('ZRANGE', ready_of(PART), 0, 0, 'WITHSCORES')
    if head[1] then
      local id = head[1]:sub(2)
      if head[1]:sub(1, 1) == 'g' then id = group_first(id) end
      ready_head = { id = id, rank = tonumber(head[2]) }
    else
      ready_head = false
    end
  end
  return ready_head
end

-- The first of all: an entry of LIST, or the id of a message.
local function first_ready()
  local ranked, entry = first_ranked(), PART == 'm' and list_head() or nil
  if entry and (not ranked or 9 * RANK_STEP + RANK_ZERO + entry.place < ranked.rank) then
    return entry
  end
  return nil, ranked and ranked.id
end

-- The first that is wanted. What has expired is cleared away, a bounded number.
local function first_wanted()
  while true do
    local entry, id = first_ready()
    if entry or not id then return entry, id end
    local m = load(id)
    if not has_expired(m) then return nil, id, m end
    if expiries_left == 0 then return nil end
    expiries_left = expiries_left - 1
    expire(id, m)
  end
end

local function deliver(receiver, entry, id, m)
  local receipt, ends = RANDOM .. struct.pack('>I4', made) .. receiver.boot, now + receiver.visibility
  local delivery = { receipt, receiver.number, receiver.principal, receiver.consumer, now, ends }
  local view
  made = made + 1
  if entry then
    id = entry.id
    view = { id, receipt, 1, ends, 0, entry.pushed, entry.body, NOTHING, NOTHING }
    list_take()
    local at = 2 * plain
    plain = plain + 1
    bodies[at + 1], bodies[at + 2] = id, entry.body
    packed_states[at + 1] = id
    packed_states[at + 2] = pack_plain(delivery, entry.pushed, content_bytes(entry.body, 0, entry.pushed))
    dues[at + 1], dues[at + 2] = ends, id .. 'a'
    ids[at + 1], ids[at + 2] = 0, 'm' .. id
  else
    m.deliveries = m.deliveries + 1
    detach(id, m)
    stand_in_flight(id, m, delivery)
    view = delivery_view(id, m)
  end
  replies[made] = { receiver.at, view }
  remembered[made] = struct.pack('>I2', receiver.at) .. id .. receipt
end

local function serve(receiver)
  local messages, bytes, first = math.min(receiver.messages, left), receiver.bytes, true
  while messages > 0 do
    local entry, id, m = first_wanted()
    if not entry and not id then return end
    local size = entry and content_bytes(entry.body, 0, entry.pushed) or bytes_of(m)
    if size > bytes and not first then return end
    messages, bytes, left, first = messages - 1, math.max(bytes - size, 0), left - 1, false
    deliver(receiver, entry, id, m)
  end
end

for at = 1, tonumber(ARGV[7]) do
  local from = 7 + (at - 1) * PER_RECEIVER
  serve({
    at = at - 1, boot = ARGV[from + 1], number = ARGV[from + 2], messages = tonumber(ARGV[from + 3]),
    bytes = tonumber(ARGV[from + 4]), visibility = tonumber(ARGV[from + 5]) or settings.visibility_ms,
    principal = ARGV[from + 6], consumer = ARGV[from + 7],
  })
end
list_finish()
count('delivered', made)
count('mr', -plain)
count('mf', plain)
call('HSET', BODIES, bodies)
call('HSET', STATES, packed_states)
call('ZADD', DUE, dues)
call('ZADD', IDS, ids)
return finish(replies, table.concat(remembered))
