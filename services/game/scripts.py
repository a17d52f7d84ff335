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

# KEYS: session, replies. ARGV: node, milliseconds to keep the reply, value of the reply, fields and values.
CREATE: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return {'EXISTS'} end
local fields = {'epoch', '1', 'head', '0', 'node', ARGV[1]}
for n = 4, #ARGV do fields[#fields + 1] = ARGV[n] end
redis.call('HSET', KEYS[1], unpack(fields))
for n = 2, #KEYS do redis.call('SET', KEYS[n], ARGV[3], 'PX', ARGV[2]) end
return {'KEPT'}
"""

# KEYS: session. ARGV: node that takes it, node it is taken from. Answers all fields; nothing when there is no session;
# FENCED when somebody else was first.
TAKE: Final = """
local node = redis.call('HGET', KEYS[1], 'node')
if not node then return {} end
if node ~= ARGV[1] and node ~= ARGV[2] then return {'FENCED', node} end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'node', ARGV[1])
return redis.call('HGETALL', KEYS[1])
"""

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
