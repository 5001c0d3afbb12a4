-- Takes out the oldest messages of a part, those that were pushed before an id (empty: before now), at most
-- STEP_MAX and so many bytes. Reply: how many, and before which id there is more (empty: nothing).
if repeated then return answer(repeated) end
advance()

local PART, BEFORE, BYTES_MAX = ARGV[5], ARGV[6], 4194304
local newest = pack_id(math.max(counters.seq + 1, number), 0)
if BEFORE == '' or BEFORE > newest then BEFORE = newest end

local function oldest_stored()
  local member = redis.call('ZRANGEBYLEX', IDS, '[' .. PART, '(' .. PART .. BEFORE, 'LIMIT', 0, 1)[1]
  return member and member:sub(2)
end

local function oldest_entry()
  local entry = PART == 'm' and list_head() or nil
  return entry and entry.id < BEFORE and entry or nil
end

local function take_entry(entry)
  local bytes = content_bytes(entry.body, 0, entry.pushed)
  count('mr', -1)
  count('m_bytes', -bytes)
  list_take()
  return bytes
end

local function take_stored(id)
  local m = load(id)
  drop(id, m)
  return bytes_of(m)
end

local messages, bytes = 0, 0
local id, entry = oldest_stored(), oldest_entry()
while (id or entry) and messages < STEP_MAX and bytes < BYTES_MAX do
  if entry and (not id or entry.id < id) then
    bytes = bytes + take_entry(entry)
    entry = oldest_entry()
  else
    bytes = bytes + take_stored(id)
    id = oldest_stored()
  end
  messages = messages + 1
  count('purged')
end
list_finish()
return finish({ messages, (id or entry) and BEFORE or '' })
