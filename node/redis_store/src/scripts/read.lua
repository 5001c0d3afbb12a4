-- Reads; changes nothing. ARGV: what.
--
--   topic                                  settings, counters, when the oldest message of the main part was
--                                          pushed (-1: it is empty)
--   message  id                            its view, or nothing
--   peek     part, max                     what would be delivered next, of each group its first
--   list     part, state (empty: any), after (empty: from the first on), max
--                                          views in the order of the pushes; then the last id that was looked
--                                          at, if there may be more
--   deliveries  count, then ids with receipts   views of those that still live
local WHAT, SCANNED_MAX, BYTES_MAX = ARGV[5], 1000, 4194304

local function named_values(names, named)
  local values = {}
  for at, name in ipairs(names) do values[at] = named[name] end
  return values
end

local function ids_after(part, after, max)
  local from = after == '' and '[' .. part or '(' .. part .. after
  local members = redis.call('ZRANGEBYLEX', IDS, from, '(' .. string.char(part:byte() + 1), 'LIMIT', 0, max)
  for at, member in ipairs(members) do members[at] = member:sub(2) end
  return members
end

local function topic()
  local oldest, id = list_head(), ids_after('m', '', 1)[1]
  local pushed = oldest and oldest.pushed or -1
  if id and (not oldest or id < oldest.id) then pushed = load(id).pushed end
  return { named_values(SETTINGS, settings), named_values(COUNTERS, counters), pushed }
end

local function message(id)
  local m = load(id)
  if m then return { message_view(id, m) } end
  local at, entry = list_find(id)
  return at and { entry_view(entry) } or {}
end

local function ranked(part, max)
  local heads, out = redis.call('ZRANGE', ready_of(part), 0, max - 1, 'WITHSCORES'), {}
  for at = 1, #heads, 2 do
    local id = heads[at]:sub(2)
    if heads[at]:sub(1, 1) == 'g' then id = group_first(id) end
    out[#out + 1] = { id = id, rank = tonumber(heads[at + 1]) }
  end
  return out
end

local function peek(part, max)
  local heads, at, views, bytes = ranked(part, max), 1, {}, 0
  while #views < max and bytes < BYTES_MAX do
    local entry, head = part == 'm' and list_head() or nil, heads[at]
    if entry and (not head or 9 * RANK_STEP + RANK_ZERO + entry.place < head.rank) then
      views[#views + 1] = entry_view(entry)
      list_take()
    elseif head then
      views[#views + 1] = message_view(head.id, load(head.id))
      at = at + 1
    else
      break
    end
    bytes = bytes + views[#views][7]
  end
  return views
end

-- Goes along LIST from an id on.
local function entries_from(after)
  local at = 0
  if after ~= '' then at = list_seek(after) end
  entries_taken = at
  local entry = list_head()
  if entry and entry.id == after then list_take() end
end

local function list(part, state, after, max)
  if part == 'm' then entries_from(after) end
  local ids, at, views, bytes, last = ids_after(part, after, SCANNED_MAX), 1, {}, 0, ''
  local function show(view)
    views[#views + 1], bytes = view, bytes + view[7]
  end
  for _ = 1, SCANNED_MAX do
    local entry, id = part == 'm' and list_head() or nil, ids[at]
    if not entry and not id then return { views, '' } end
    if #views == max or bytes > BYTES_MAX then return { views, last } end
    if entry and (not id or entry.id < id) then
      if state == '' or state == 'r' then show(entry_view(entry)) end
      last = entry.id
      list_take()
    else
      local m = load(id)
      if state == '' or state == m.state then show(message_view(id, m)) end
      last, at = id, at + 1
    end
  end
  return { views, last }
end

local function deliveries(total)
  local views = {}
  for at = 1, total do
    local id, receipt = ARGV[6 + at]:sub(1, 11), ARGV[6 + at]:sub(12)
    local m = load(id)
    if m and m.state == 'f' and m.delivery[1] == receipt then views[#views + 1] = delivery_view(id, m) end
  end
  return views
end

if WHAT == 'topic' then return answer(topic()) end
if WHAT == 'message' then return answer(message(ARGV[6])) end
if WHAT == 'peek' then return answer(peek(ARGV[6], tonumber(ARGV[7]))) end
if WHAT == 'deliveries' then return answer(deliveries(tonumber(ARGV[6]))) end
return answer(list(ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])))
