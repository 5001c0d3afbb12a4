-- What is shown of messages.

-- What went wrong, first and last; empty: nothing.
local NOTHING = {}

local function failures_of(id, m)
  if m.failed == 0 then return NOTHING end
  return cmsgpack.unpack(redis.call('HGET', FAILURES, id))
end

local function death_of(m)
  return m.death ~= 0 and m.death or NOTHING
end

-- A delivery, to whoever has it. `body` may be given.
local function delivery_view(id, m, body)
  body = body or redis.call('HGET', BODIES, id)
  return {
    id, m.delivery[1], m.deliveries, m.delivery[6], m.ttl, m.pushed, body, failures_of(id, m), death_of(m),
  }
end

local function message_view(id, m, body)
  local delivery = m.state == 'f' and m.delivery or {}
  return {
    id, m.part, m.state, m.till, m.deliveries, m.expires, bytes_of(m), m.ttl, m.pushed,
    body or redis.call('HGET', BODIES, id), failures_of(id, m), death_of(m),
    { delivery[3], delivery[4], delivery[5], delivery[6] },
  }
end

local function entry_view(entry)
  return message_view(entry.id, new_message(entry.body, 0, '', 0, entry.pushed), entry.body)
end
