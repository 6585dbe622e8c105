"""What is done inside the server, each at one moment for everybody else.

Keys are *frozen* into a database where nothing ages: their TTLs, and those of the fields of hashes, stand as notes in
another database, under `ttl:NAME` and `fields:NAME`. To *thaw* is the way back: with the whole TTL that was noted.
"""

from __future__ import annotations

from envctl.kinds.redis.protocol.layout import BASELINE, LIVE, NOTES, spare
from envctl.kinds.redis.protocol.link import Script

COMMON = f"""
local NOTES, BASELINE, LIVE = '{NOTES}', '{BASELINE}', {LIVE}
local function use(number) redis.call('SELECT', number) end

local function clear(number)
  use(number)
  local size = redis.call('DBSIZE')
  if size > 100 then redis.call('FLUSHDB', 'ASYNC') elseif size > 0 then redis.call('FLUSHDB') end
end

local function forget(name)
  use(NOTES)
  redis.call('UNLINK', 'ttl:' .. name, 'fields:' .. name)
end

-- Copy keys from the database that is selected. A type whose module has no copy is written out and read again.
local function copy(keys, from, to)
  for _, key in ipairs(keys) do
    local done = redis.pcall('COPY', key, key, 'DB', to, 'REPLACE')
    if type(done) == 'table' and done.err then
      local ttl, payload = redis.call('PTTL', key), redis.call('DUMP', key)
      if payload then
        use(to)
        redis.call('RESTORE', key, math.max(ttl, 0), payload, 'REPLACE')
        use(from)
      end
    end
  end
end

local function each_key(database, visit)
  local cursor = '0'
  repeat
    use(database)
    local found = redis.call('SCAN', cursor, 'COUNT', 500)
    cursor = found[1]
    visit(found[2])
  until cursor == '0'
end

local function each_note(notes, visit)
  local cursor = '0'
  repeat
    use(NOTES)
    local found = redis.call('HSCAN', notes, cursor, 'COUNT', 500)
    cursor = found[1]
    for at = 1, #found[2], 2 do visit(found[2][at], found[2][at + 1]) end
  until cursor == '0'
end

-- Give the keys of a database what is noted of their TTLs.
local function age(name, to)
  use(NOTES)
  if redis.call('EXISTS', 'ttl:' .. name, 'fields:' .. name) == 0 then return end
  each_note('ttl:' .. name, function(key, ttl)
    use(to)
    redis.call('PEXPIRE', key, ttl)
  end)
  each_note('fields:' .. name, function(key, fields)
    use(to)
    fields = cmsgpack.unpack(fields)
    for at = 1, #fields, 2 do redis.call('HPEXPIRE', key, fields[at + 1], 'FIELDS', 1, fields[at]) end
  end)
end
"""

FREEZE = (
    COMMON
    + """
local function counted(database)
  local line = string.match(redis.call('INFO', 'keyspace'), 'db' .. database .. ':([^\\r\\n]*)') or ''
  local function number(name) return tonumber(string.match(line, name .. '=(%d+)') or '0') end
  return number('keys'), number('expires'), number('subexpiry') + number('keys_with_volatile_items')
end

-- The fields of a hash that only live for a time, and how long; they are made to stay.
local function keep_fields(key)
  if redis.call('TYPE', key).ok ~= 'hash' then return nil end
  local names, found, timed = redis.call('HKEYS', key), {}, {}
  for from = 1, #names, 1000 do
    local some = {unpack(names, from, math.min(from + 999, #names))}
    for at, ttl in ipairs(redis.call('HPTTL', key, 'FIELDS', #some, unpack(some))) do
      if ttl >= 0 then
        found[#found + 1] = some[at]; found[#found + 1] = ttl
        timed[#timed + 1] = some[at]
      end
    end
  end
  for _, field in ipairs(timed) do redis.call('HPERSIST', key, 'FIELDS', 1, field) end
  return #found > 0 and cmsgpack.pack(found) or nil
end

local function freeze(source, frozen, name)
  forget(name)
  clear(frozen)
  local keys, expires, volatile = counted(source)
  if keys == 0 then return 0 end
  each_key(source, function(found)
    local noted = {}
    if expires > 0 then
      for _, key in ipairs(found) do
        local ttl = redis.call('PTTL', key)
        if ttl >= 0 then noted[#noted + 1] = {'ttl:' .. name, key, math.max(ttl, 1)} end
      end
    end
    copy(found, source, frozen)
    use(frozen)
    for _, note in ipairs(noted) do redis.call('PERSIST', note[2]) end
    if volatile > 0 then
      for _, key in ipairs(found) do
        local fields = keep_fields(key)
        if fields then noted[#noted + 1] = {'fields:' .. name, key, fields} end
      end
    end
    use(NOTES)
    for _, note in ipairs(noted) do redis.call('HSET', note[1], note[2], note[3]) end
  end)
  use(frozen)
  return redis.call('DBSIZE')
end
"""
)

# -- the baseline ------------------------------------------------------------------------------------------------------

TAKE = Script(
    FREEZE
    + """
-- DATABASE, ID: what the database holds becomes the baseline of that id. Returns how many keys.
use(NOTES)
redis.call('DEL', 'baseline')
local count = freeze(ARGV[1], BASELINE, 'baseline')
use(NOTES)
redis.call('HSET', 'baseline', 'id', ARGV[2], 'count', count)
return count
"""
)

_BASELINE = (
    COMMON
    + """
-- The baseline's id and number of keys; nothing where it is not there, or not whole.
local function baseline()
  use(NOTES)
  local known = redis.call('HMGET', 'baseline', 'id', 'count')
  use(BASELINE)
  local size = redis.call('DBSIZE')
  if known[1] and tonumber(known[2]) == size then return known[1], size end
  return nil, size
end
"""
)

_SPARE = f"""
local SPARE = tostring(tonumber(ARGV[1]) + {spare(0)})

-- What was built takes the place of what is there, which is thrown away beside.
local function put_in_place()
  age('baseline', SPARE)
  redis.call('SWAPDB', ARGV[1], SPARE)
  clear(SPARE)
end
"""

RESET = Script(
    _BASELINE
    + _SPARE
    + """
-- DATABASE, MOST: put the baseline into the database, unless it has more than so many keys and was not built already.
local id, size = baseline()
if not id then return {'none', size} end
if size > tonumber(ARGV[2]) then
  use(NOTES)
  if redis.call('GET', 'ready:' .. ARGV[1]) ~= id then return {'large', size, id} end
  redis.call('DEL', 'ready:' .. ARGV[1])
  use(SPARE)
  if redis.call('DBSIZE') ~= size then return {'large', size, id} end
  put_in_place()
  return {'done', size, id}
end
clear(ARGV[1])
if size > 0 then
  each_key(BASELINE, function(keys) copy(keys, BASELINE, ARGV[1]) end)
  age('baseline', ARGV[1])
end
return {'done', size}
"""
)

BEGIN = Script(
    COMMON
    + _SPARE
    + """
-- DATABASE, TOKEN: begin to build its next content in its spare one; 0 while somebody else is at it.
use(NOTES)
if not redis.call('SET', 'building:' .. ARGV[1], ARGV[2], 'NX', 'PX', 30000) then return 0 end
redis.call('DEL', 'ready:' .. ARGV[1])
clear(SPARE)
return 1
"""
)

_MINE = (
    _BASELINE
    + _SPARE
    + """
-- Whether we are still the one who builds, and the baseline is still the same.
local function mine()
  if baseline() ~= ARGV[3] then return false end
  use(NOTES)
  if redis.call('GET', 'building:' .. ARGV[1]) ~= ARGV[2] then return false end
  redis.call('PEXPIRE', 'building:' .. ARGV[1], 30000)
  return true
end
"""
)

BUILD = Script(
    _MINE
    + """
-- DATABASE, TOKEN, ID, CURSOR, COUNT: copy the next keys; the next cursor, or "lost".
if not mine() then return 'lost' end
use(BASELINE)
local found = redis.call('SCAN', ARGV[4], 'COUNT', ARGV[5])
copy(found[2], BASELINE, SPARE)
return found[1]
"""
)

FINISH = Script(
    _MINE
    + """
-- DATABASE, TOKEN, ID: put what was built in its place. 1, or "lost".
if not mine() then return 'lost' end
put_in_place()
use(NOTES)
redis.call('DEL', 'building:' .. ARGV[1])
return 1
"""
)

KEEP_READY = Script(
    _MINE
    + """
-- DATABASE, TOKEN, ID: what was built waits for the next reset. 1, or "lost".
if not mine() then return 'lost' end
redis.call('SET', 'ready:' .. ARGV[1], ARGV[3])
redis.call('DEL', 'building:' .. ARGV[1])
return 1
"""
)

GIVE_UP = Script(
    COMMON
    + _SPARE
    + """
-- DATABASE, TOKEN: throw away what was built, unless somebody else is at it.
use(NOTES)
local holder = redis.call('GET', 'building:' .. ARGV[1])
if holder and holder ~= ARGV[2] then return 0 end
redis.call('DEL', 'building:' .. ARGV[1], 'ready:' .. ARGV[1])
clear(SPARE)
return 1
"""
)

EMPTY = Script(COMMON + "clear(ARGV[1]) return 1  -- DATABASE")

HEAL = Script(
    _BASELINE
    + """
-- ID, then KEY, PAYLOAD, TTL, FIELDS of each: the baseline again, out of its second copy.
if baseline() == ARGV[1] then return 0 end
forget('baseline')
clear(BASELINE)
for at = 2, #ARGV, 4 do redis.call('RESTORE', ARGV[at], 0, ARGV[at + 1], 'REPLACE') end
use(NOTES)
for at = 2, #ARGV, 4 do
  if ARGV[at + 2] ~= '' then redis.call('HSET', 'ttl:baseline', ARGV[at], ARGV[at + 2]) end
  if ARGV[at + 3] ~= '' then redis.call('HSET', 'fields:baseline', ARGV[at], ARGV[at + 3]) end
end
redis.call('HSET', 'baseline', 'id', ARGV[1], 'count', (#ARGV - 1) / 4)
return 1
"""
)

# -- reading what is frozen --------------------------------------------------------------------------------------------

NAMES = Script(
    """
-- FROZEN, CURSOR: the next cursor and the names of some keys.
redis.call('SELECT', ARGV[1])
return redis.call('SCAN', ARGV[2], 'COUNT', 500)
"""
)

CONTENTS = Script(
    f"""
-- FROZEN, NAME, MOST BYTES, KEYS: payload, TTL and fields of each, as many of them as fit, but one at least.
local most, found, size = tonumber(ARGV[3]), {{}}, 0
redis.call('SELECT', ARGV[1])
for at = 4, #ARGV do
  local payload = redis.call('DUMP', ARGV[at])
  size = size + (payload and #payload or 0)
  if size > most and #found > 0 then break end
  found[#found + 1] = {{payload, false, false}}
end
redis.call('SELECT', '{NOTES}')
for at, one in ipairs(found) do
  one[2] = redis.call('HGET', 'ttl:' .. ARGV[2], ARGV[at + 3])
  one[3] = redis.call('HGET', 'fields:' .. ARGV[2], ARGV[at + 3])
end
return found
"""
)
