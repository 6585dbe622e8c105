"""What a CI system reads in a job's log: commands for GitHub's runner, sections for GitLab.

The runner takes for a command each line that begins with `::name …::`, white space before it does not count, and each
that has `##[name …]` anywhere. Whoever writes into the log can so give it orders: what comes from elsewhere is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_COMMAND = re.compile(r"(?:\A|(?<=[\r\n]))(\s*):(?=:)")  # a carriage return alone ends a line, too


def harmless(text: str) -> str:
    r"""The text without any line that GitHub's runner would obey: `::error::x` becomes `\x3a:error::x`."""
    if "::" in text:
        text = _COMMAND.sub(r"\1\\x3a", text)
    return text.replace("##[", "#\\x23[")


def github_command(name: str, data: str = "", **properties: str) -> str:
    """One command for GitHub's runner, with its line end."""
    told = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name}{' ' if told else ''}{told}::{_data(data)}\n"


def github_masks(secrets: Iterable[str]) -> str:
    """Commands that hide `secrets` in the job's log; print them before anything that could show one.

    The runner masks line by line, so each line of a secret is a mask of its own.
    """
    lines = dict.fromkeys(line for secret in secrets for line in re.split(r"[\r\n]+", secret) if line.strip())
    return "".join(github_command("add-mask", line) for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def gitlab_section_start(name: str, header: str, time_s: int) -> str:
    """Begins a section that GitLab shows folded; `name` is letters, digits and `_.-`, once in a job."""
    return f"\x1b[0Ksection_start:{time_s}:{name}[collapsed=true]\r\x1b[0K{header}\n"


def gitlab_section_end(name: str, time_s: int) -> str:
    """Ends a section."""
    return f"\x1b[0Ksection_end:{time_s}:{name}\r\x1b[0K\n"
