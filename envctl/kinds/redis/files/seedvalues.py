"""The commands that set a key to what a file says.

    greeting: hello                                    a string; numbers too, as they are written
    user:1: {name: Anna, age: 30}                      a hash
    queue: [a, b]                                      a list
    tags: {type: set, value: [a, b]}
    ranking: {type: zset, value: {anna: 3.5}}          or [[anna, 3.5]]
    events: {type: stream, value: [{id: 1-1, fields: {a: 1}}, {a: 2}]}
    session:1: {value: {user: 1}, ttl: 30m}            any of them with an end
    picture: {base64: iVBORw0K}                        bytes, wherever text may stand

A mapping with `type` and `value`, or with exactly `value` and `ttl`, is such a form; to have these as the fields of a
hash, write {type: hash, value: {…}}. Everything is checked before anything is sent, since Redis takes nothing back.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from envctl.kinds.redis.files.seedfile import Entry, Misfit
from envctl.plan.units import DURATION_FORM, duration_s

Command = tuple[bytes, ...]

_AT_ONCE = 1000  # elements of one key in one command
_LONGEST_S = 100 * 366 * 86_400.0
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.?inf(?:inity)?", re.IGNORECASE)
_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_LARGEST = 2**64 - 1
_FORM = frozenset({"type", "value", "ttl"})


def commands(entry: Entry) -> Iterator[Command]:
    """What sets the key to its value, whatever it held before. Raises Misfit."""
    try:
        sort, value, ttl_ms = _form(entry.value)
        key = _bytes(entry.key)
        if sort == "string":
            yield (b"SET", key, _bytes(value), *((b"PX", b"%d" % ttl_ms) if ttl_ms else ()))
            return
        yield (b"DEL", key)
        name, elements = _SORTS[sort](value)
        if name == b"XADD":
            yield from ((name, key, *element) for element in elements)
        else:
            for start in range(0, len(elements), _AT_ONCE):
                yield (name, key, *(word for element in elements[start : start + _AT_ONCE] for word in element))
        if ttl_ms and elements:
            yield (b"PEXPIRE", key, b"%d" % ttl_ms)
    except Misfit as misfit:
        raise Misfit(misfit.cause, entry.line, entry.key, misfit.fix) from None


def _form(value: Any) -> tuple[str, Any, int]:
    """Of what type a value is, the value itself, and how long it stays in milliseconds, 0 for ever."""
    if isinstance(value, Mapping):
        if {"type", "value"} <= value.keys() and value["type"] in ("string", *_SORTS):
            if unknown := sorted(value.keys() - _FORM):
                raise Misfit(f'"{unknown[0]}" does not go with type and value', fix="beside them there is only ttl")
            return value["type"], value["value"], _ttl_ms(value)
        if value.keys() == {"value", "ttl"}:
            return _form(value["value"])[0], value["value"], _ttl_ms(value)
    return _sort_of(value), value, 0


def _sort_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "string" if value.keys() == {"base64"} else "hash"
    return "list" if isinstance(value, list) else "string"


def _ttl_ms(form: Mapping[str, Any]) -> int:
    text = form.get("ttl")
    if text is None:
        return 0
    try:
        seconds = float(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else duration_s(str(text))
    except ValueError:
        raise Misfit(f"ttl {text!r} is no duration", fix=f"write {DURATION_FORM}, or a number of seconds") from None
    if not 0.001 <= seconds <= _LONGEST_S:
        raise Misfit(f"ttl {text!r} is no time that a key can stay", fix="leave ttl out for a key that stays")
    return round(seconds * 1000)


def _bytes(value: Any) -> bytes:
    """A single value as Redis holds it."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise Misfit("it holds half of a character (a lone surrogate)", fix="write bytes as {base64: …}") from None
    if isinstance(value, Mapping) and value.keys() == {"base64"}:
        try:
            return b64decode(str(value["base64"]), validate=True)
        except ValueError:
            raise Misfit("what stands at base64 is no base64") from None
    if value is None:
        raise Misfit("null is no value that Redis has", fix='leave it out, or write ""')
    what = "a mapping" if isinstance(value, Mapping) else "a list"
    fix = "Redis nests nothing: write it as JSON text, or give the type: {type: zset, value: …}"
    raise Misfit(f"{what} stands where a single value must be", fix=fix)


# -- elements ----------------------------------------------------------------------------------------------------------


def _hash(value: Any) -> tuple[bytes, list[Command]]:
    fields = _mapping(value, "a hash is a mapping of its fields")
    return b"HSET", [(_bytes(field), _bytes(one)) for field, one in fields.items()]


def _list(value: Any) -> tuple[bytes, list[Command]]:
    return b"RPUSH", [(_bytes(one),) for one in _items(value, "a list is a sequence")]


def _set(value: Any) -> tuple[bytes, list[Command]]:
    return b"SADD", [(_bytes(one),) for one in _items(value, "a set is a sequence")]


def _zset(value: Any) -> tuple[bytes, list[Command]]:
    form = "a sorted set is a mapping of members to scores, or a sequence of [member, score]"
    pairs = list(value.items()) if isinstance(value, Mapping) else _items(value, form)
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise Misfit(form)
    return b"ZADD", [(_score(score), _bytes(member)) for member, score in pairs]


def _score(value: Any) -> bytes:
    text = value if isinstance(value, str) else ""
    if infinite := _INFINITY.fullmatch(text):
        return b"-inf" if infinite[1] == "-" else b"inf"
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise Misfit(f"the score {value!r} is no number")
    return repr(number).encode()


def _stream(value: Any) -> tuple[bytes, list[Command]]:
    form = "a stream is a sequence of {id: 1-1, fields: {…}}, or of mappings of fields"
    elements: list[Command] = []
    last: tuple[int, int] | None = (0, 0)
    for entry in _items(value, form):
        fields, name = _mapping(entry, form), "*"
        if isinstance(fields.get("fields"), Mapping) and fields.keys() <= {"id", "fields"}:
            fields, name = fields["fields"], str(fields.get("id", "*"))
        if not fields:
            raise Misfit("an entry of a stream has one field at least")
        last = _next_id(name, last)
        words = (word for field, one in fields.items() for word in (_bytes(field), _bytes(one)))
        elements.append((name.encode(), *words))
    return b"XADD", elements


def _next_id(name: str, last: tuple[int, int] | None) -> tuple[int, int] | None:
    """The id as a number; None after one that Redis chooses, which is later than any that people write."""
    if name == "*":
        return None
    if last is None:
        raise Misfit(f"the id {name} follows an entry without one, which gets the time as its id")
    match = _ID.fullmatch(name)
    number = (int(match[1]), int(match[2] or 0)) if match else (0, 0)
    if match is None or max(number) > _LARGEST:
        raise Misfit(f"{name!r} is no id of a stream", fix='write "1-1", or leave it out')
    if number <= last:
        raise Misfit(f"the id {name} is not larger than the one before, or than 0-0")
    return number


def _items(value: Any, form: str) -> list[Any]:
    if not isinstance(value, list):
        raise Misfit(form)
    return value


def _mapping(value: Any, form: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Misfit(form)
    return value


_SORTS: Mapping[str, Callable[[Any], tuple[bytes, Sequence[Command]]]] = {
    "hash": _hash,
    "list": _list,
    "set": _set,
    "zset": _zset,
    "stream": _stream,
}
