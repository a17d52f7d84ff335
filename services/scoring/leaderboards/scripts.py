"""Lua, run by Redis in one step, on the two keys of a window: `ranks` and `index`.

`ranks` is a sorted set of members (see `places`), all with score 0, and one more that sorts behind them all. `index` is
a hash from user id (16 bytes) to place (24 bytes), or to the turn (8 bytes) of an entry's removal; its field `state` is
`ready`, or the name of whoever builds. Either key alone is as good as none. Everything is safe to repeat.

Bytes are never compared as strings in Lua, which follows the locale.
"""

from __future__ import annotations

from typing import Final

_COMMON: Final = """
local last = string.rep('\\255', 41)
local function state()
  local found = redis.call('HGET', KEYS[2], 'state')
  if not found or not redis.call('ZSCORE', KEYS[1], last) then return '' end
  return found
end
"""

# ARGV: joined members of entries, joined (user, turn) of removals, joined user ids whose ranks to tell, the builder
# ('' for a writer). Answers the state, how many there are, and the ranks from 0, -1 for none.
APPLY: Final = (
    _COMMON
    + """
local found = state()
if found == '' or (ARGV[4] ~= '' and found ~= ARGV[4]) then return {found} end
local function turn(bytes)
  local high, low = 0, 0
  local a, b, c, d, e, f, g, h = string.byte(bytes, -8, -1)
  return (((a - 128) * 256 + b) * 256 + c) * 256 + d, ((e * 256 + f) * 256 + g) * 256 + h
end
local function later(one, other)
  local high, low = turn(one)
  local other_high, other_low = turn(other)
  return high > other_high or (high == other_high and low > other_low)
end
local entries = ARGV[1]
-- Some hundred at a time, with a command for all of them: to call one costs as much as what it does.
for from = 1, #entries, 20000 do
  local users, places = {}, {}
  for at = from, math.min(#entries, from + 19999), 40 do
    users[#users + 1] = string.sub(entries, at + 24, at + 39)
    places[#places + 1] = string.sub(entries, at, at + 23)
  end
  local known, latest = redis.call('HMGET', KEYS[2], unpack(users)), {}
  for number, user in ipairs(users) do
    local had = latest[user] or known[number]
    if not had or later(places[number], had) then latest[user] = places[number] end
  end
  local gone, come, indexed = {}, {}, {}
  for number, user in ipairs(users) do
    local place, had = latest[user], known[number]
    if place then
      latest[user] = nil
      if had and #had == 24 then gone[#gone + 1] = had .. user end
      come[#come + 1] = 0
      come[#come + 1] = place .. user
      indexed[#indexed + 1] = user
      indexed[#indexed + 1] = place
    end
  end
  if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
  if #come > 0 then
    redis.call('ZADD', KEYS[1], unpack(come))
    redis.call('HSET', KEYS[2], unpack(indexed))
  end
end
local removals = ARGV[2]
for at = 1, #removals, 24 do
  local user = string.sub(removals, at, at + 15)
  local gone = string.sub(removals, at + 16, at + 23)
  local had = redis.call('HGET', KEYS[2], user)
  if not had or later(gone, had) then
    if had and #had == 24 then redis.call('ZREM', KEYS[1], had .. user) end
    redis.call('HSET', KEYS[2], user, gone)
  end
end
local ranks = {}
local users = ARGV[3]
for at = 1, #users, 16 do
  local user = string.sub(users, at, at + 15)
  local place = redis.call('HGET', KEYS[2], user)
  ranks[#ranks + 1] = place and redis.call('ZRANK', KEYS[1], place .. user) or -1
end
return {found, redis.call('ZCARD', KEYS[1]) - 1, ranks}
"""
)

# ARGV: the builder, 1 to begin over what is ready, seconds in which a builder must show itself, seconds to keep the
# keys (0: for ever). Answers the state: the builder's name when it may build.
BEGIN: Final = (
    _COMMON
    + """
local found = state()
if found == 'ready' and ARGV[2] ~= '1' then return found end
if found ~= '' and found ~= 'ready' and found ~= ARGV[1] and redis.call('GET', KEYS[3]) == found then return found end
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('ZADD', KEYS[1], 0, last)
redis.call('HSET', KEYS[2], 'state', ARGV[1])
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[3])
if ARGV[4] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return ARGV[1]
"""
)

# ARGV: the builder, 1 when all is there, seconds in which it must show itself again. Answers the state.
BUILT: Final = (
    _COMMON
    + """
local found = state()
if found ~= ARGV[1] then return found end
if ARGV[2] ~= '1' then
  redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[3])
  return found
end
redis.call('HSET', KEYS[2], 'state', 'ready')
redis.call('DEL', KEYS[3])
return 'ready'
"""
)

# ARGV: for each question what to read, about what, how many. Answers nothing unless ready; else for each a line of
# numbers, and the place from which on the entries are that were asked for. The numbers: how many there are in all, the
# rank (from 0) of the first of those entries, how many they are, then
#   around USER SIZE    the rank of the player, -1 for none
#   page PLACE SIZE     nothing; the entries are those behind a place, '' for the first of all
#   users IDS 0         a rank per joined id, -1 for none; there is no place
# Many questions to one script, and one text to each, since small commands and small answers are dear.
READ: Final = (
    _COMMON
    + """
if state() ~= 'ready' then return {} end
local ranks, index = KEYS[1], KEYS[2]
local total = redis.call('ZCARD', ranks) - 1
local function rank_of(user)
  local place = redis.call('HGET', index, user)
  return place and redis.call('ZRANK', ranks, place .. user) or -1
end
local function answer(what, about, size)
  local numbers, first, place = {total, 0, 0}, 0, ''
  if what == 'users' then
    for at = 1, #about, 16 do numbers[#numbers + 1] = rank_of(string.sub(about, at, at + 15)) end
    return table.concat(numbers, ' ') .. '\\n'
  elseif what == 'around' then
    local rank = rank_of(about)
    numbers[4] = rank
    if rank < 0 then size = 0 end
    first = math.max(0, math.min(rank - math.floor((size - 1) / 2), total - size))
    if rank >= 0 then place = string.sub(redis.call('ZRANGE', ranks, first, first)[1], 1, 24) end
  elseif about ~= '' then
    first = redis.call('ZLEXCOUNT', ranks, '-', '[' .. about .. string.rep('\\255', 17))
    place = about .. '\\0'
  end
  numbers[2], numbers[3] = first, math.max(0, math.min(size, total - first))
  return table.concat(numbers, ' ') .. '\\n' .. place
end
local answers = {}
for at = 1, #ARGV, 3 do answers[#answers + 1] = answer(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])) end
return answers
"""
)
