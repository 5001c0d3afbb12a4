-- Takes out one message, whatever it is doing. ARGV: its id. Reply: 'A', or 'S': there is none.
if repeated then return answer(repeated) end
advance()

local function punch(at, entry)
  redis.call('LSET', LIST, at, entry.id .. struct.pack('>I6I6', entry.place + PLACE_ZERO, entry.pushed))
  count('mr', -1)
  count('m_bytes', -content_bytes(entry.body, 0, entry.pushed))
  count('holes')
  -- Holes at the head go at once, so that nobody has to step over them.
  if at == 0 then
    list_head()
    list_finish()
  end
end

local function remove(id)
  local m = load(id)
  if m then
    drop(id, m)
  else
    local at, entry = list_find(id)
    if not at then return 'S' end
    punch(at, entry)
  end
  count('purged')
  return 'A'
end

return finish(remove(ARGV[5]))
