"""Lua, run by Redis in one step: every change of a ticket or a match.

All keys of a game share a hash slot; the only one that is passed is their common beginning, `{mm:<game>}`, and the
names of the others follow from what a script reads. Each is safe to repeat, because a command may be sent twice when a
connection dies. What a leader changes carries its epoch: FENCED when it is another's by now.

    <base>:t:<ticket>   hash: d(ata) s(tate) v(ersion) e(nter time, ms) q(ueues) u(sers) m(atch) r(eason)
                        w(atching nodes) y (why not yet) a(ccepted players) o(ver since, ms)
                        h(eld out of its queues until, ms) k (the request that made it) g(one users)
    <base>:u:<user>     the ticket that a player has under way, or had last
    <base>:r:<caller and request id>   the ticket that a request made
    <base>:q:<queue>    sorted set: tickets that wait, by enter time
    <base>:f:<queue>    stream: what entered (o=+, with d and e) and left (o=-)
    <base>:l:<queue>    hash: who leads: holder, until (ms), epoch; dirty while the leader has been told of news
    <base>:alive        sorted set: tickets under way, by when they expire unless renewed
    <base>:m:<match>    hash: d(ata) s(tate: P, A, M, X) q(ueue) t(ickets) n(umber of players) until (ms)
    <base>:ma:<match>   set: players who have accepted
    <base>:ms:<queue>   sorted set: matches on their way, by when they were proposed
    <base>:o:<session>  hash: d(ata) q(ueue) e: a session that looks for players
    <base>:os:<queue>   sorted set of those
    <base>:x:<queue>    stream: what has happened, for Kafka: k(ind) and i(d)
    <base>:p:<user>     a penalty that runs; <base>:pn:<user> how many there were within a day
"""

from __future__ import annotations

from typing import Final

# What scripts have in common.
_COMMON: Final = """
local base = KEYS[1]
local game = string.match(base, '^{mm:(.*)}$')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function words(text)
  local found = {}
  for word in string.gmatch(text or '', '%S+') do found[#found + 1] = word end
  return found
end

-- Tells the leader of a queue that there is news, once until it has looked.
local function wake(queue)
  local leads = base .. ':l:' .. queue
  local holder = redis.call('HGET', leads, 'holder')
  if holder and redis.call('HSETNX', leads, 'dirty', '1') == 1 then
    redis.call('PUBLISH', 'mm:node:' .. holder, 'f ' .. game .. ' ' .. queue)
  end
  return holder
end

-- Counts a change of a ticket, and notes whom to tell.
local news = {}
local function changed(ticket)
  local key = base .. ':t:' .. ticket
  redis.call('HINCRBY', key, 'v', 1)
  for _, node in ipairs(words(redis.call('HGET', key, 'w'))) do
    news[node] = (news[node] or '') .. ' ' .. ticket
  end
end
local function tell()
  for node, tickets in pairs(news) do redis.call('PUBLISH', 'mm:node:' .. node, 't ' .. game .. tickets) end
end

local function leave_queues(ticket, queues, quiet)
  for _, queue in ipairs(queues) do
    if redis.call('ZREM', base .. ':q:' .. queue, ticket) == 1 and queue ~= quiet then
      redis.call('XADD', base .. ':f:' .. queue, 'MAXLEN', '~', 200000, '*', 'o', '-', 't', ticket)
      wake(queue)
    end
  end
end

local function event(queue, kind, id)
  redis.call('XADD', base .. ':x:' .. queue, '*', 'k', kind, 'i', id)
end

-- A ticket is over. Its data stay for a while, for whoever asks.
local function finish(ticket, state, reason, quiet)
  local key = base .. ':t:' .. ticket
  local have = redis.call('HMGET', key, 'q', 'u', 'y', 'k')
  if state ~= 4 then leave_queues(ticket, words(have[1]), quiet) end -- who is matched was claimed out of them
  redis.call('HSET', key, 's', state, 'r', reason, 'o', now)
  if have[3] then redis.call('HDEL', key, 'y') end
  if have[4] then redis.call('PEXPIRE', base .. ':r:' .. have[4], 600000) end
  redis.call('ZREM', base .. ':alive', ticket)
  for _, user in ipairs(words(have[2])) do
    local mine = base .. ':u:' .. user
    if redis.call('GET', mine) == ticket then redis.call('PEXPIRE', mine, 600000) end
  end
  changed(ticket)
  redis.call('PEXPIRE', key, 600000)
  if state ~= 4 then event(words(have[1])[1], 'T', ticket) end
end

-- A ticket goes to its place, or back there.
local function requeue(ticket, reason)
  local key = base .. ':t:' .. ticket
  local have = redis.call('HMGET', key, 'q', 'e', 'd')
  redis.call('HSET', key, 's', 1, 'r', reason)
  redis.call('HDEL', key, 'm', 'a', 'y', 'h')
  for _, queue in ipairs(words(have[1])) do
    redis.call('ZADD', base .. ':q:' .. queue, have[2], ticket)
    redis.call('XADD', base .. ':f:' .. queue, 'MAXLEN', '~', 200000, '*',
      'o', '+', 't', ticket, 'd', have[3], 'e', have[2])
    wake(queue)
  end
  changed(ticket)
end

local function penalise(user)
  local count = redis.call('INCR', base .. ':pn:' .. user)
  redis.call('EXPIRE', base .. ':pn:' .. user, 86400)
  local wait = math.min(30000 * 2 ^ math.min(count - 1, 10), 900000)
  redis.call('SET', base .. ':p:' .. user, '1', 'PX', string.format('%.0f', wait))
end

-- A match comes to nothing. `guilty` are players whose tickets are over for `reason`; the others return.
local function dissolve(match, guilty, reason, others, spared)
  local key = base .. ':m:' .. match
  local have = redis.call('HMGET', key, 't', 'q')
  for _, ticket in ipairs(words(have[1])) do
    local state = tonumber(redis.call('HGET', base .. ':t:' .. ticket, 's') or '0')
    if state == 2 or state == 3 then
      local over = false
      for _, user in ipairs(words(redis.call('HGET', base .. ':t:' .. ticket, 'u'))) do
        if guilty[user] then
          over = true
          if not spared then penalise(user) end
        end
      end
      if over then finish(ticket, 5, reason, nil) else requeue(ticket, others) end
    end
  end
  redis.call('HSET', key, 's', 'X')
  redis.call('PEXPIRE', key, 60000)
  redis.call('DEL', base .. ':ma:' .. match)
  redis.call('ZREM', base .. ':ms:' .. have[2], match)
end

local function fenced(queue, epoch)
  return redis.call('HGET', base .. ':l:' .. queue, 'epoch') ~= epoch
end
"""

# ARGV: ticket, data, request ('' for none), node that watches ('' for none), milliseconds without renewal,
# enter time in ms ('' for now), most tickets of a queue, number of users, milliseconds to stay out of the queues while
# a seat is looked for, users, queues.
# Answers NEW, 1 when all queues have leaders, and the enter time; SAME and a ticket; ACTIVE, ticket and user;
# PENALISED, user and ms; FULL and queue.
ENTER: Final = (
    _COMMON
    + """
local ticket, data, request, node, enter = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local hold = tonumber(ARGV[9])
local key = base .. ':t:' .. ticket
if redis.call('EXISTS', key) == 1 then return {'SAME', ticket} end
if request ~= '' then
  local before = redis.call('GET', base .. ':r:' .. request)
  if before and redis.call('EXISTS', base .. ':t:' .. before) == 1 then
    if node ~= '' then
      local nodes = redis.call('HGET', base .. ':t:' .. before, 'w') or ''
      if not string.find(nodes, node, 1, true) then
        redis.call('HSET', base .. ':t:' .. before, 'w', nodes .. ' ' .. node)
      end
    end
    return {'SAME', before}
  end
end
local users, queues = {}, {}
for n = 1, tonumber(ARGV[8]) do users[n] = ARGV[9 + n] end
for n = 10 + #users, #ARGV do queues[#queues + 1] = ARGV[n] end
for _, user in ipairs(users) do
  local other = redis.call('GET', base .. ':u:' .. user)
  if other and other ~= ticket then
    local state = tonumber(redis.call('HGET', base .. ':t:' .. other, 's') or '9')
    if state < 4 then return {'ACTIVE', other, user} end
  end
end
if enter == '' then
  for _, user in ipairs(users) do
    local wait = redis.call('PTTL', base .. ':p:' .. user)
    if wait > 0 then return {'PENALISED', user, wait} end
  end
  for _, queue in ipairs(queues) do
    if redis.call('ZCARD', base .. ':q:' .. queue) >= tonumber(ARGV[7]) then return {'FULL', queue} end
  end
  enter = string.format('%.0f', now)
end
redis.call('HSET', key, 'd', data, 's', 1, 'v', 1, 'e', enter, 'q', table.concat(queues, ' '),
  'u', table.concat(users, ' '), 'w', node)
for _, user in ipairs(users) do redis.call('SET', base .. ':u:' .. user, ticket) end
if request ~= '' then
  redis.call('HSET', key, 'k', request)
  redis.call('SET', base .. ':r:' .. request, ticket, 'PX', 90000000)
end
redis.call('ZADD', base .. ':alive', now + tonumber(ARGV[5]), ticket)
if hold > 0 then
  redis.call('HSET', key, 'h', now + hold)
  return {'NEW', 1, enter}
end
local led = 1
for _, queue in ipairs(queues) do
  redis.call('ZADD', base .. ':q:' .. queue, enter, ticket)
  redis.call('XADD', base .. ':f:' .. queue, 'MAXLEN', '~', 200000, '*', 'o', '+', 't', ticket, 'd', data, 'e', enter)
  if not wake(queue) then led = 0 end
end
return {'NEW', led, enter}
"""
)

# ARGV: milliseconds without renewal, tickets. Answers for each its version and why-not-yet, '' when there is no such.
KEEP: Final = (
    _COMMON
    + """
local told = {}
local until_ms = now + tonumber(ARGV[1])
for n = 2, #ARGV do
  local have = redis.call('HMGET', base .. ':t:' .. ARGV[n], 's', 'v', 'y', 'h')
  if have[1] then
    if tonumber(have[1]) < 4 then redis.call('ZADD', base .. ':alive', until_ms, ARGV[n]) end
    -- Whoever looked for a seat for it is gone.
    if have[4] and tonumber(have[4]) < now and have[1] == '1' then requeue(ARGV[n], '0') end
    told[#told + 1] = have[2]
    told[#told + 1] = have[3] or ''
  else
    told[#told + 1] = ''
    told[#told + 1] = ''
  end
end
return told
"""
)

# ARGV: ticket, match ('' when no seat was found), data of the match, number of players. A ticket that stayed out of its
# queues has a seat, or enters them. Answers 1 when all of its queues have leaders.
SEATED: Final = (
    _COMMON
    + """
local key = base .. ':t:' .. ARGV[1]
local have = redis.call('HMGET', key, 's', 'h', 'q')
if have[1] ~= '1' or not have[2] then return 1 end
if ARGV[2] == '' then
  requeue(ARGV[1], '0')
else
  local match = base .. ':m:' .. ARGV[2]
  redis.call('HSET', match, 'd', ARGV[3], 's', 'M', 'q', words(have[3])[1], 'n', ARGV[4], 't', ARGV[1], 'until', 0)
  redis.call('PEXPIRE', match, 600000)
  redis.call('HSET', key, 'm', ARGV[2])
  redis.call('HDEL', key, 'h')
  event(words(have[3])[1], 'M', ARGV[2])
  finish(ARGV[1], 4, '0', nil)
end
tell()
local led = 1
for _, queue in ipairs(words(have[3])) do
  if not redis.call('HGET', base .. ':l:' .. queue, 'holder') then led = 0 end
end
return led
"""
)

# ARGV: ticket, node. From now on that node is told of its changes.
WATCH: Final = (
    _COMMON
    + """
local key = base .. ':t:' .. ARGV[1]
local nodes = redis.call('HGET', key, 'w')
if not nodes then return 0 end
if not string.find(nodes, ARGV[2], 1, true) then redis.call('HSET', key, 'w', nodes .. ' ' .. ARGV[2]) end
return 1
"""
)

# ARGV: ticket, reason, user who wants it ('' for the developer). Answers OK; MADE when its match is; OVER; NONE.
CANCEL: Final = (
    _COMMON
    + """
local have = redis.call('HMGET', base .. ':t:' .. ARGV[1], 's', 'm', 'u')
if not have[1] then return {'NONE'} end
local state = tonumber(have[1])
if state > 3 then return {'OVER'} end
if state == 1 then
  finish(ARGV[1], 5, ARGV[2], nil)
else
  if redis.call('HGET', base .. ':m:' .. have[2], 's') ~= 'P' then return {'MADE'} end
  local guilty = {}
  guilty[ARGV[3] ~= '' and ARGV[3] or words(have[3])[1]] = true
  dissolve(have[2], guilty, ARGV[3] ~= '' and '3' or ARGV[2], '9', ARGV[3] == '')
end
tell()
return {'OK'}
"""
)

# ARGV: ticket, user who leaves, data as they were, data without that user ('' when nobody is left). Answers LEFT; OK
# when that has ended the ticket; CHANGED when the data are others by now; HELD while a seat is looked for; MADE; OVER;
# NONE.
LEAVE: Final = (
    _COMMON
    + """
local ticket, user, rest = ARGV[1], ARGV[2], ARGV[4]
local key = base .. ':t:' .. ticket
local have = redis.call('HMGET', key, 's', 'm', 'u', 'd', 'q', 'e', 'h', 'g')
if not have[1] then return {'NONE'} end
local state = tonumber(have[1])
if state > 3 then return {'OVER'} end
if state > 1 then
  if redis.call('HGET', base .. ':m:' .. have[2], 's') ~= 'P' then return {'MADE'} end
  dissolve(have[2], {[user] = true}, '3', '9')
  tell()
  return {'OK'}
end
if have[4] ~= ARGV[3] then return {'CHANGED'} end
if have[7] then return {'HELD'} end
if rest == '' then
  finish(ticket, 5, '1', nil)
else
  local others = {}
  for _, other in ipairs(words(have[3])) do
    if other ~= user then others[#others + 1] = other end
  end
  redis.call('HSET', key, 'd', rest, 'u', table.concat(others, ' '), 'g', (have[8] or '') .. ' ' .. user)
  redis.call('HDEL', key, 'y')
  for _, queue in ipairs(words(have[5])) do
    local feed = base .. ':f:' .. queue
    redis.call('XADD', feed, 'MAXLEN', '~', 200000, '*', 'o', '-', 't', ticket)
    redis.call('XADD', feed, 'MAXLEN', '~', 200000, '*', 'o', '+', 't', ticket, 'd', rest, 'e', have[6])
    wake(queue)
  end
  changed(ticket)
end
local mine = base .. ':u:' .. user
if redis.call('GET', mine) == ticket then redis.call('DEL', mine) end
tell()
return {rest == '' and 'OK' or 'LEFT'}
"""
)

# ARGV: ticket, user, '1' to accept. Answers OK; STATE and the ticket's; NONE.
ANSWER: Final = (
    _COMMON
    + """
local have = redis.call('HMGET', base .. ':t:' .. ARGV[1], 's', 'm', 'u')
if not have[1] then return {'NONE'} end
local state, match = tonumber(have[1]), have[2]
if (state ~= 2 and state ~= 3) or not match then return {'STATE', state} end
local key = base .. ':m:' .. match
local about = redis.call('HMGET', key, 's', 'n', 't', 'q')
if about[1] ~= 'P' then
  if ARGV[3] == '1' then return {'OK'} end
  return {'STATE', 3}
end
if ARGV[3] ~= '1' then
  dissolve(match, {[ARGV[2]] = true}, '3', '9')
  tell()
  return {'OK'}
end
local answers = base .. ':ma:' .. match
if redis.call('SADD', answers, ARGV[2]) == 1 then
  redis.call('PEXPIRE', answers, 3600000)
  local count = redis.call('SCARD', answers)
  local all = true
  for _, user in ipairs(words(have[3])) do
    if redis.call('SISMEMBER', answers, user) == 0 then all = false end
  end
  if all then redis.call('HSET', base .. ':t:' .. ARGV[1], 's', 3) end
  for _, ticket in ipairs(words(about[3])) do
    redis.call('HSET', base .. ':t:' .. ticket, 'a', count)
    changed(ticket)
  end
  if count >= tonumber(about[2]) then
    redis.call('HSET', key, 's', 'A')
    wake(about[4])
  end
  tell()
end
return {'OK'}
"""
)

# ARGV: queue, node, milliseconds of a lease, 1 to take it if it is free. Answers the epoch; '' and who leads and for
# how long; '', '' and for how long it has been free.
LEAD: Final = (
    _COMMON
    + """
local key = base .. ':l:' .. ARGV[1]
local have = redis.call('HMGET', key, 'holder', 'until', 'epoch')
local free = not have[1] or tonumber(have[2]) < now
if have[1] == ARGV[2] then
  redis.call('HSET', key, 'until', now + tonumber(ARGV[3]))
  return {have[3]}
end
if not free then return {'', have[1], tonumber(have[2]) - now} end
if ARGV[4] ~= '1' then return {'', '', now - tonumber(have[2] or now)} end
local epoch = now
if have[3] and tonumber(have[3]) >= epoch then epoch = tonumber(have[3]) + 1 end
epoch = string.format('%.0f', epoch)
redis.call('HSET', key, 'holder', ARGV[2], 'until', now + tonumber(ARGV[3]), 'epoch', epoch)
redis.call('HDEL', key, 'dirty')
return {epoch}
"""
)

# ARGV: queue, epoch, 1 if only when there is nothing left to do. Answers 1 when nobody leads the queue any more.
RELEASE: Final = (
    _COMMON
    + """
local queue = ARGV[1]
if fenced(queue, ARGV[2]) then return 0 end
if ARGV[3] == '1' then
  for _, kind in ipairs({':q:', ':ms:', ':os:'}) do
    if redis.call('ZCARD', base .. kind .. queue) > 0 then return 0 end
  end
  if redis.call('XLEN', base .. ':x:' .. queue) > 0 then return 0 end
  redis.call('DEL', base .. ':f:' .. queue)
end
redis.call('HDEL', base .. ':l:' .. queue, 'holder', 'until', 'dirty')
return 1
"""
)

# ARGV: queue, epoch, last entry of the feed that is not needed any more ('' for none). The leader is about to look.
LOOK: Final = (
    _COMMON
    + """
if fenced(ARGV[1], ARGV[2]) then return 'FENCED' end
redis.call('HDEL', base .. ':l:' .. ARGV[1], 'dirty')
if ARGV[3] ~= '' then redis.call('XTRIM', base .. ':f:' .. ARGV[1], 'MINID', ARGV[3]) end
return 'OK'
"""
)

# ARGV: queue, epoch, match, data, number of players, milliseconds to answer ('' when nobody is asked), tickets, each
# with the number of its players. Answers CLAIMED and the deadline; GONE and tickets that are; FENCED.
CLAIM: Final = (
    _COMMON
    + """
local queue, match, within = ARGV[1], ARGV[3], ARGV[6]
local key = base .. ':m:' .. match
if redis.call('EXISTS', key) == 1 then return {'CLAIMED'} end
if fenced(queue, ARGV[2]) then return {'FENCED'} end
local gone = {'GONE'}
for n = 7, #ARGV, 2 do
  local have = redis.call('HMGET', base .. ':t:' .. ARGV[n], 's', 'u')
  -- One of its players may have left it since the leader looked.
  if have[1] ~= '1' or #words(have[2]) ~= tonumber(ARGV[n + 1])
    or not redis.call('ZSCORE', base .. ':q:' .. queue, ARGV[n]) then gone[#gone + 1] = ARGV[n] end
end
if #gone > 1 then return gone end
local tickets = {}
for n = 7, #ARGV, 2 do
  local ticket = ARGV[n]
  tickets[#tickets + 1] = ticket
  local mine = base .. ':t:' .. ticket
  leave_queues(ticket, words(redis.call('HGET', mine, 'q')), queue)
  redis.call('HSET', mine, 's', within ~= '' and 2 or 3, 'm', match, 'a', 0, 'r', '0')
  redis.call('HDEL', mine, 'y')
  if within ~= '' then changed(ticket) end
end
redis.call('HSET', key, 'd', ARGV[4], 's', within ~= '' and 'P' or 'A', 'q', queue, 'n', ARGV[5],
  't', table.concat(tickets, ' '), 'until', within ~= '' and now + tonumber(within) or 0)
redis.call('ZADD', base .. ':ms:' .. queue, now, match)
tell()
return {'CLAIMED'}
"""
)

# ARGV: queue, epoch, match. Those who have not answered are out, the others return. Answers OK, or the match's state.
OVERDUE: Final = (
    _COMMON
    + """
if fenced(ARGV[1], ARGV[2]) then return 'FENCED' end
local have = redis.call('HMGET', base .. ':m:' .. ARGV[3], 's', 'until', 't')
if have[1] ~= 'P' or tonumber(have[2]) > now then return have[1] or 'X' end
local guilty = {}
for _, ticket in ipairs(words(have[3])) do
  for _, user in ipairs(words(redis.call('HGET', base .. ':t:' .. ticket, 'u'))) do
    if redis.call('SISMEMBER', base .. ':ma:' .. ARGV[3], user) == 0 then guilty[user] = true end
  end
end
dissolve(ARGV[3], guilty, '4', '9')
tell()
return 'OK'
"""
)

# ARGV: queue, epoch, match. Its session cannot be: its tickets return. Answers OK or FENCED.
UNDO: Final = (
    _COMMON
    + """
if fenced(ARGV[1], ARGV[2]) then return 'FENCED' end
if redis.call('HGET', base .. ':m:' .. ARGV[3], 's') == 'A' then dissolve(ARGV[3], {}, '0', '10') end
tell()
return 'OK'
"""
)

# ARGV: queue, epoch, match, data with the session. Answers OK or FENCED.
SETTLE: Final = (
    _COMMON
    + """
local queue, match = ARGV[1], ARGV[3]
if fenced(queue, ARGV[2]) then return 'FENCED' end
local key = base .. ':m:' .. match
local have = redis.call('HMGET', key, 's', 't')
if have[1] ~= 'A' then return 'OK' end
redis.call('HSET', key, 'd', ARGV[4], 's', 'M')
redis.call('PEXPIRE', key, 600000)
redis.call('ZREM', base .. ':ms:' .. queue, match)
redis.call('DEL', base .. ':ma:' .. match)
event(queue, 'M', match)
for _, ticket in ipairs(words(have[2])) do finish(ticket, 4, '0', queue) end
tell()
return 'OK'
"""
)

# ARGV: queue, epoch, state, reason, '1' if only when it leaves its last queue, '1' if only when it was not renewed,
# tickets.
DISMISS: Final = (
    _COMMON
    + """
local queue = ARGV[1]
if fenced(queue, ARGV[2]) then return 'FENCED' end
for n = 7, #ARGV do
  local ticket = ARGV[n]
  local have = redis.call('HMGET', base .. ':t:' .. ticket, 's', 'q')
  local renewed = ARGV[6] == '1' and tonumber(redis.call('ZSCORE', base .. ':alive', ticket) or '0') > now
  if not have[1] then
    redis.call('ZREM', base .. ':q:' .. queue, ticket)
    redis.call('ZREM', base .. ':alive', ticket)
  elseif have[1] == '1' and not renewed then
    local others = false
    if ARGV[5] == '1' then
      redis.call('ZREM', base .. ':q:' .. queue, ticket)
      for _, other in ipairs(words(have[2])) do
        if redis.call('ZSCORE', base .. ':q:' .. other, ticket) then others = true end
      end
    end
    if not others then finish(ticket, tonumber(ARGV[3]), ARGV[4], nil) end
  elseif tonumber(have[1]) > 3 then
    redis.call('ZREM', base .. ':alive', ticket)
  end
end
tell()
return 'OK'
"""
)

# ARGV: queue, session, data ('' to end the search), milliseconds to keep it. Answers 1 when the queue has a leader.
OPEN: Final = (
    _COMMON
    + """
local queue, session = ARGV[1], ARGV[2]
local key = base .. ':o:' .. session
if ARGV[3] == '' then
  redis.call('DEL', key)
  redis.call('ZREM', base .. ':os:' .. queue, session)
else
  local enter = redis.call('HGET', key, 'e') or string.format('%.0f', now)
  redis.call('HSET', key, 'd', ARGV[3], 'q', queue, 'e', enter)
  redis.call('PEXPIRE', key, ARGV[4])
  redis.call('ZADD', base .. ':os:' .. queue, enter, session)
end
redis.call('XADD', base .. ':f:' .. queue, 'MAXLEN', '~', 200000, '*', 'o', 'o', 't', session)
return wake(queue) and 1 or 0
"""
)
