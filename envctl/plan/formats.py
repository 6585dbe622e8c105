"""How variables are written down, so that each reader gets exactly the value that went in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from envctl.errors import UsageError

Format = Literal["dotenv", "shell", "json", "github", "gitlab", "powershell", "table"]

MASK = "********"


def render(variables: Mapping[str, str], format: Format, *, secrets: Sequence[str] = ()) -> str:  # noqa: A002 - what users call it
    """`variables` in `format`, in their order, every line ended.

    Args:
        variables: Name → value.
        format: See docs/variables.md for what reads each.
        secrets: Hidden in `table`, which is for eyes; every other format is for programs and holds them.

    Raises:
        UsageError: A variable that this format cannot carry (or no format: NUL, half a surrogate pair), named.
    """
    for name, value in variables.items():
        _check(name, value)
    if format == "table":
        return _table(variables, secrets)
    return _WRITERS[format](variables)


def _check(name: str, value: str) -> None:
    if not (name.isascii() and name.isidentifier()):
        raise _refusal(name, "is not a name every reader accepts", "use letters, digits and underscores")
    if "\0" in value:
        raise _refusal(name, "holds a NUL character, which no environment variable can", "change its value")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise _refusal(name, "holds a character that UTF-8 cannot carry", "change its value")


def _refusal(name: str, problem: str, fix: str) -> UsageError:
    return UsageError(f"variable {name!r} {problem}", fix=[fix], subject={"variable": name})


# -- dotenv --------------------------------------------------------------------------------------------------------

# In double quotes python-dotenv knows no escape for these two, and a shell acts on them: variables that hold them
# serve both.
_HELPERS = {"$": "ENVCTL_DOLLAR", "`": "ENVCTL_BACKTICK"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\r": "\\r"} | {c: f"${{{name}}}" for c, name in _HELPERS.items()}
_ESCAPED = str.maketrans(_ESCAPES)
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./?-")


def _dotenv(variables: Mapping[str, str]) -> str:
    """See docs/variables.md for who reads which form. In no form can a shell that sources the file run anything."""
    helpers = {
        name: f"{name}='{character}'\n"
        for character, name in _HELPERS.items()
        if any(character in value and not _is_same_in_single_quotes(value) for value in variables.values())
    }
    lines = [f"{name}={_dotenv_value(value)}\n" for name, value in variables.items()]
    return "".join([*helpers.values(), *lines])


def _dotenv_value(value: str) -> str:
    if _PLAIN.issuperset(value):
        return value
    return f"'{value}'" if _is_same_in_single_quotes(value) else f'"{value.translate(_ESCAPED)}"'


def _is_same_in_single_quotes(value: str) -> bool:
    """Whether every reader takes it as it stands: python-dotenv has escapes and `${…}` in single quotes as well."""
    return not value.endswith("\\") and not any(part in value for part in ("'", "\r", "\\\\", "${"))


# -- the others ----------------------------------------------------------------------------------------------------


def _shell(variables: Mapping[str, str]) -> str:
    """POSIX: in single quotes everything is itself, and a quote stands outside of them."""
    return "".join(f"export {name}='{_escaped(value)}'\n" for name, value in variables.items())


def _escaped(value: str) -> str:
    return value.replace("'", "'\\''")


def _json(variables: Mapping[str, str]) -> str:
    import json

    return json.dumps(dict(variables), indent=2) + "\n"


def _github(variables: Mapping[str, str]) -> str:
    """The file behind GITHUB_ENV: `NAME=value`, or between delimiters where the value has several lines."""
    return "".join(_github_entry(name, value) for name, value in variables.items())


def _github_entry(name: str, value: str) -> str:
    if "\n" not in value and "\r" not in value:
        return f"{name}={value}\n"
    delimiter = _delimiter(value)
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _delimiter(value: str) -> str:
    """A line that is not in `value`, and that no one can put into it beforehand: it depends on the whole value."""
    from hashlib import sha256

    delimiter = "ENVCTL_" + sha256(value.encode()).hexdigest()[:32]
    while delimiter in value:
        delimiter += "_"
    return delimiter


def _gitlab(variables: Mapping[str, str]) -> str:
    """A dotenv report: no quotes, no escapes; GitLab takes each line as it is and strips both ends."""
    for name, value in variables.items():
        if "\n" in value or "\r" in value or value != value.strip():
            raise _refusal(
                name,
                "has line breaks or outer spaces, which a GitLab dotenv report cannot carry",
                "use `--format json` or `--format shell` within the job",
            )
    return "".join(f"{name}={value}\n" for name, value in variables.items())


_DOUBLED = str.maketrans({quote: quote * 2 for quote in "'\u2018\u2019\u201a\u201b"})


def _powershell(variables: Mapping[str, str]) -> str:
    """In single quotes everything is itself, and a quote (also a typographic one) is doubled."""
    return "".join(f"$env:{name} = '{value.translate(_DOUBLED)}'\n" for name, value in variables.items())


def _table(variables: Mapping[str, str], secrets: Sequence[str]) -> str:
    width = max(map(len, variables), default=0)
    shown = {name: _printable(_masked(value, secrets)) for name, value in variables.items()}
    lines = [f"{name:<{width}}  {value}".rstrip() + "\n" for name, value in shown.items()]
    if any(_masked(value, secrets) != value for value in variables.values()):
        lines.append("\npasswords are hidden; `envctl env --format dotenv` shows them\n")
    return "".join(lines)


def _masked(value: str, secrets: Sequence[str]) -> str:
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        value = value.replace(secret, MASK)
    return value


def _printable(value: str) -> str:
    """Control and direction characters escaped: a branch's name must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


_WRITERS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "dotenv": _dotenv,
    "shell": _shell,
    "json": _json,
    "github": _github,
    "gitlab": _gitlab,
    "powershell": _powershell,
}

FORMATS: tuple[str, ...] = (*_WRITERS, "table")
"""Every format's name, in the order of the help text."""
