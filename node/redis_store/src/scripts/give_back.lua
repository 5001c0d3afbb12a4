-- Gives back deliveries that nobody has seen: as if they had not been. Before all others, so the first comes
-- last.
--
-- ARGV: how many; of each the id and the receipt. Reply: how many still lived.
if repeated then return answer(repeated) end
advance()

local back = 0
for at = tonumber(ARGV[5]), 1, -1 do
  local id, receipt = ARGV[5 + at]:sub(1, 11), ARGV[5 + at]:sub(12)
  local m = live_by_receipt(id, receipt)
  if m then
    back = back + 1
    count('given_back')
    detach(id, m)
    m.deliveries = math.max(m.deliveries - 1, 0)
    stand_ready(id, m, 'back')
  end
end
return finish(back)
