"""Lua, run by Redis in one step. All keys of a session share a hash slot.

A script answers {status, …}: KEPT; FENCED and the node that has taken the session; LOST when Redis does not have what
it once confirmed. Each is safe to repeat, because a command may be sent twice when a connection dies.
"""

from __future__ import annotations

from typing import Final

# KEYS: session, log, replies. ARGV: epoch, last event before, last event, joined pieces, first event to keep,
# milliseconds to keep a session that is over (0: it is not), milliseconds to keep replies,
# number of fields, fields and values, number of removed fields, those, values of the replies.
APPEND: Final = """
local have = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'node')
if not have[1] or tonumber(have[1]) < tonumber(ARGV[1]) then return {'LOST'} end
if have[1] ~= ARGV[1] then return {'FENCED', have[3]} end
if have[2] ~= ARGV[2] then
  if have[2] == ARGV[3] then return {'KEPT'} end
  return {'LOST'}
end
if ARGV[2] ~= ARGV[3] then
  redis.call('XADD', KEYS[2], 'MINID', '=', ARGV[5], ARGV[3] .. '-0', 'd', ARGV[4])
end
local at = 8
local fields = {'head', ARGV[3]}
for _ = 1, tonumber(ARGV[at]) do
  fields[#fields + 1] = ARGV[at + 1]
  fields[#fields + 1] = ARGV[at + 2]
  at = at + 2
end
redis.call('HSET', KEYS[1], unpack(fields))
at = at + 1
local removed = tonumber(ARGV[at])
for n = 1, removed do redis.call('HDEL', KEYS[1], ARGV[at + n]) end
at = at + removed
for n = 3, #KEYS do redis.call('SET', KEYS[n], ARGV[at + n - 2], 'PX', ARGV[7]) end
if ARGV[6] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
return {'KEPT'}
"""

# An epoch that is larger than one before it, and than all that were ever given: also than those that were lost with the
# newest part of Redis's data. Milliseconds of Redis's clock.
_NEXT_EPOCH: Final = """
local function next_epoch(before)
  local time = redis.call('TIME')
  local epoch = time[1] * 1000 + math.floor(time[2] / 1000)
  if before and tonumber(before) >= epoch then epoch = tonumber(before) + 1 end
  return string.format('%.0f', epoch)
end
"""

# KEYS: session, log, replies. ARGV: owner, node, milliseconds to keep the reply, value of the reply, last event (0:
# none yet), joined pieces, fields and values. Answers KEPT and the epoch, or EXISTS and whose it is.
CREATE: Final = (
    _NEXT_EPOCH
    + """
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner then return {'EXISTS', owner} end
local epoch = next_epoch(nil)
local fields = {'epoch', epoch, 'epochs', epoch .. ':0', 'head', ARGV[5], 'owner', ARGV[1], 'node', ARGV[2]}
for n = 7, #ARGV do fields[#fields + 1] = ARGV[n] end
redis.call('HSET', KEYS[1], unpack(fields))
if ARGV[5] ~= '0' then redis.call('XADD', KEYS[2], ARGV[5] .. '-0', 'd', ARGV[6]) end
for n = 3, #KEYS do redis.call('SET', KEYS[n], ARGV[4], 'PX', ARGV[3]) end
return {'KEPT', epoch}
"""
)

# KEYS: session. ARGV: owner that takes it, its node, owner it is taken from. Answers all fields; nothing when there is
# no session; FENCED and the node of who was first.
TAKE: Final = (
    _NEXT_EPOCH
    + """
local have = redis.call('HMGET', KEYS[1], 'owner', 'node', 'epoch', 'epochs', 'head')
if not have[1] then return {} end
if have[1] ~= ARGV[1] and have[1] ~= ARGV[3] then return {'FENCED', have[2]} end
local epoch = next_epoch(have[3])
local epochs = have[4] .. ',' .. epoch .. ':' .. have[5]
while #epochs > 4096 do epochs = string.sub(epochs, string.find(epochs, ',', 1, true) + 1) end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'node', ARGV[2], 'epoch', epoch, 'epochs', epochs)
return redis.call('HGETALL', KEYS[1])
"""
)

# KEYS: session. ARGV: epoch, owner it is given to, its node. From then on this epoch can write nothing.
GIVE: Final = (
    _NEXT_EPOCH
    + """
local have = redis.call('HMGET', KEYS[1], 'epoch', 'node')
if not have[1] or tonumber(have[1]) < tonumber(ARGV[1]) then return {'LOST'} end
if have[1] ~= ARGV[1] then return {'FENCED', have[2]} end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'node', ARGV[3], 'epoch', next_epoch(have[1]))
return {'KEPT'}
"""
)

# KEYS: session, log, replies. ARGV: epoch, node, last event, milliseconds to keep a session that is over,
# milliseconds to keep replies, number of log entries, last events and pieces, number of fields, fields and values,
# values of the replies.
RESTORE: Final = """
local have = redis.call('HMGET', KEYS[1], 'epoch', 'node')
if have[1] and tonumber(have[1]) > tonumber(ARGV[1]) then return {'FENCED', have[2]} end
redis.call('DEL', KEYS[1], KEYS[2])
local at = 6
for _ = 1, tonumber(ARGV[at]) do
  redis.call('XADD', KEYS[2], ARGV[at + 1] .. '-0', 'd', ARGV[at + 2])
  at = at + 2
end
at = at + 1
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'node', ARGV[2], 'head', ARGV[3])
for _ = 1, tonumber(ARGV[at]) do
  redis.call('HSET', KEYS[1], ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
for n = 3, #KEYS do redis.call('SET', KEYS[n], ARGV[at + n - 2], 'PX', ARGV[5]) end
if ARGV[4] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return {'KEPT'}
"""
