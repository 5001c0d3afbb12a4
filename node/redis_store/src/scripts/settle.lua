-- Settles deliveries, each for itself, in their order.
--
-- ARGV: how many; of each one text: what (a: ack, n: nack, e: extend, r: reject), by what (r: receipt, c:
-- consumer), the id, the receipt, delay or visibility, principal, consumer, reason.
-- Reply: of each 'A' acked, 'N' and the delay, 'X' dead, 'E' dropped, 'V' and what is left, 'S' stale.
if repeated then return answer(repeated) end
advance()

local WORDS = '>c1c1c11c20I6Hc0Hc0Hc0'
-- What was acknowledged and has no group: taken out in one call each.
local gone = { ids = {}, dues = {}, fields = {}, failed = {} }

local function take_out(id, part, bytes)
  local at = #gone.fields + 1
  gone.ids[at], gone.dues[at], gone.fields[at] = part .. id, id .. 'a', id
  count(part .. 'f', -1)
  count(part .. '_bytes', -bytes)
  states[id] = false
end

local function ack(id, m)
  count('acked')
  if group_of(m) ~= '' then
    drop(id, m)
  else
    if m.failed == 1 then gone.failed[#gone.failed + 1] = id end
    take_out(id, m.part, bytes_of(m))
  end
  return 'A'
end

-- The most frequent of all.
local function ack_plain(id, receipt)
  local bytes = plain_bytes_if_live(states[id], receipt)
  if bytes then
    count('acked')
    take_out(id, 'm', bytes)
  end
  return bytes and 'A'
end

local function extend(id, m, visibility)
  local ends = math.max(m.delivery[6], now + (visibility or settings.visibility_ms))
  m.delivery[6] = ends
  due_put(id, 'a', ends)
  save(id, m)
  return 'V' .. string.format('%.0f', ends - now)
end

local items, ids = {}, {}
for at = 1, tonumber(ARGV[5]) do
  items[at] = { struct.unpack(WORDS, ARGV[5 + at]) }
  ids[at] = items[at][3]
end
prefetch(ids)

local function settle(verdict, by, id, receipt, ms, principal, consumer, reason)
  local acked = verdict == 'a' and by == 'r' and ack_plain(id, receipt)
  if acked then return acked end
  local m
  if by == 'r' then m = live_by_receipt(id, receipt) else m = live_by_consumer(id, principal, consumer) end
  if ms == NONE then ms = nil end
  if not m then return 'S' end
  if verdict == 'a' then return ack(id, m) end
  if verdict == 'e' then return extend(id, m, ms) end
  if verdict == 'r' then return fail(id, m, 'r', reason, nil) end
  count('nacked')
  return fail(id, m, 'n', reason, ms)
end

local reply = {}
for at, item in ipairs(items) do reply[at] = settle(unpack(item)) end
call('ZREM', IDS, gone.ids)
call('ZREM', DUE, gone.dues)
call('HDEL', BODIES, gone.fields)
call('HDEL', STATES, gone.fields)
call('HDEL', FAILURES, gone.failed)
return finish(reply)
