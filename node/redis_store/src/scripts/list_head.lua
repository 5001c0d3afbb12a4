-- Taking from the head of LIST: read in growing steps, taken out in one call at the end.

local entries, entries_at, entries_step, entries_taken, entries_holes = {}, 1, 16, 0, 0

-- The first entry that is not taken yet and no hole.
local function list_head()
  while true do
    local entry = entries[entries_at]
    if not entry then
      entries = redis.call('LRANGE', LIST, entries_taken, entries_taken + entries_step - 1)
      entries_at, entries_step = 1, math.min(entries_step * 2, 128)
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
