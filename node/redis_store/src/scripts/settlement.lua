-- Which delivery is meant: the same as dsync_core's queue/settle.rs. A delivery has ended at the very
-- millisecond of its end.

-- The message, if this receipt's delivery lives.
local function live_by_receipt(id, receipt)
  local m = load(id)
  if m and m.state == 'f' and m.delivery[6] > now and m.delivery[1] == receipt then return m end
end

-- The message, if its delivery lives and is this consumer's (the original routes).
local function live_by_consumer(id, principal, consumer)
  local m = load(id)
  if not m or m.state ~= 'f' or m.delivery[6] <= now then return nil end
  if consumer ~= '' and m.delivery[3] == principal and m.delivery[4] == consumer then return m end
end
