-- Taking from the head of LIST: read in growing steps, taken out in one call at the end.

local entries, entries_at, entries_step, entries_taken, entries_holes = {}, 1, 8, 0, 0

-- How many entries are read at once: more each time, but about a megabyte at most.
local function list_step()
  local there = counters.mr + counters.md + counters.mf
  local average = math.max(counters.m_bytes / math.max(there, 1), 1)
  entries_step = math.min(entries_step * 2, 128)
  return math.max(math.min(entries_step, math.floor(1048576 / average)), 1)
end

-- The first entry that is not taken yet and no hole.
local function list_head()
  while true do
    local entry = entries[entries_at]
    if not entry then
      entries = redis.call('LRANGE', LIST, entries_taken, entries_taken + list_step() - 1)
      entries_at = 1
      if #entries == 0 then return nil end
    elseif type(entry) == 'table' then
      return entry
    elseif #entry == HEAD_BYTES then
      entries_at, entries_taken = entries_at + 1, entries_taken + 1
      entries_holes = entries_holes + 1
    else
      entries[entries_at] = parse_entry(entry)
    end
  end
end

local function list_take()
  entries_at, entries_taken = entries_at + 1, entries_taken + 1
end

local function list_finish()
  count('holes', -entries_holes)
  if entries_taken > 0 then redis.call('LTRIM', LIST, entries_taken, -1) end
end
