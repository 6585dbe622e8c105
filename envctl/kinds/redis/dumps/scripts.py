"""What is done inside the server for a snapshot: all databases frozen at one moment, and exchanged at one moment."""

from __future__ import annotations

from envctl.kinds.redis.protocol.layout import NOTES, banked
from envctl.kinds.redis.protocol.link import Script
from envctl.kinds.redis.resets.scripts import COMMON, FREEZE

LOCK = Script(
    f"""
-- TOKEN, GONE: 1 where nobody else writes or reads a snapshot, or it is us, or who is gone; else who it is.
redis.call('SELECT', '{NOTES}')
local holder = redis.call('GET', 'snapshot')
if holder and holder ~= ARGV[1] and holder ~= ARGV[2] then return holder end
redis.call('SET', 'snapshot', ARGV[1])
return 1
"""
)

_BANK = f"""
local function bank(number) return tostring(number + {banked(0)}) end
local function noted(number) return 'bank' .. number end
local function empty_bank()
  for number = 0, LIVE - 1 do
    clear(bank(number))
    forget(noted(number))
  end
end
"""

SAVE = Script(
    FREEZE
    + _BANK
    + """
-- All that the databases hold now is frozen: a list of number and count of each that holds something.
empty_bank()
local saved = {}
for number = 0, LIVE - 1 do
  local count = freeze(tostring(number), bank(number), noted(number))
  if count > 0 then
    saved[#saved + 1] = number
    saved[#saved + 1] = count
  end
end
return saved
"""
)

CLEAR = Script(
    COMMON
    + _BANK
    + """
-- TOKEN: throw away what was kept for a snapshot, and let go.
use(NOTES)
if redis.call('GET', 'snapshot') ~= ARGV[1] then return 0 end
empty_bank()
use(NOTES)
redis.call('DEL', 'snapshot')
return 1
"""
)

RECOVER = Script(
    COMMON
    + _BANK
    + """
-- The same, whoever had taken hold.
empty_bank()
use(NOTES)
redis.call('DEL', 'snapshot')
return 1
"""
)

VERSION = Script(
    f"""
-- What a payload of this server ends with.
redis.call('SELECT', '{NOTES}')
redis.call('SET', 'probe', '1')
local payload = redis.call('DUMP', 'probe')
redis.call('DEL', 'probe')
return payload
"""
)

POUR = Script(
    COMMON
    + _BANK
    + """
-- NUMBER, then KEY, PAYLOAD, TTL, FIELDS of each: into the bank of that database.
use(bank(ARGV[1]))
for at = 2, #ARGV, 4 do redis.call('RESTORE', ARGV[at], 0, ARGV[at + 1]) end
use(NOTES)
for at = 2, #ARGV, 4 do
  if ARGV[at + 2] ~= '' then redis.call('HSET', 'ttl:' .. noted(ARGV[1]), ARGV[at], ARGV[at + 2]) end
  if ARGV[at + 3] ~= '' then redis.call('HSET', 'fields:' .. noted(ARGV[1]), ARGV[at], ARGV[at + 3]) end
end
return 1
"""
)

COMMIT = Script(
    COMMON
    + _BANK
    + """
-- TOKEN: what is in the bank takes the place of what is in the databases; 0 where it is not ours any more.
use(NOTES)
if redis.call('GET', 'snapshot') ~= ARGV[1] then return 0 end
for number = 0, LIVE - 1 do age(noted(number), bank(number)) end  -- what fails, fails here
for number = 0, LIVE - 1 do redis.call('SWAPDB', number, bank(number)) end
empty_bank()
use(NOTES)
redis.call('DEL', 'snapshot')
return 1
"""
)
