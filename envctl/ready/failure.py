"""What a wait that failed tells: which service, what was seen last, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from envctl.errors import OutOfMemory, ServiceExited, ServiceNotReady
from envctl.host.terminal import escape
from envctl.model import Death
from envctl.ready.course import Course

_QUOTED_LINES = 3
_QUOTED_CHARACTERS = 200

# What shells, the kernel and container engines mean by an exit code.
_MEANING = {
    0: "it ended by itself without an error, but a service must keep running",
    126: "its command cannot be executed",
    127: "its command was not found in the image, or on the PATH of a process",
    137: "it was killed (SIGKILL)",
    139: "it crashed (SIGSEGV)",
    143: "it was told to stop (SIGTERM)",
}


def stopped(death: Death) -> ServiceExited | OutOfMemory:
    """The error for a service that ended while it was waited for."""
    name, after = f'service "{death.service}"', f" after {death.ran_s:.1f} s" if death.ran_s is not None else ""
    subject = {"service": death.service, "exit_code": death.exit_code}
    whole_log = f"whole log: envctl logs {death.service}"
    if death.out_of_memory:
        return OutOfMemory(
            f"{name} was killed at its memory limit{after}",
            cause="the kernel's out-of-memory killer ended it",
            evidence=death.log_tail,
            fix=[f"raise services.{death.service}.memory", whole_log],
            subject=subject,
        )
    code = "" if death.exit_code is None else f" with code {death.exit_code}"
    return ServiceExited(
        f"{name} stopped{code}{after}",
        cause=_cause(death),
        evidence=death.log_tail,
        fix=[f"check the command and settings of services.{death.service}; {whole_log}"],
        subject=subject,
    )


def not_ready(courses: Sequence[Course], waited_s: float, *, final: bool = False) -> ServiceNotReady:
    """The error for services that did not become ready, or (`final`) never can."""
    names = [course.service for course in courses]
    subject: dict[str, object] = {"service": names[0], "services": names, "waited_s": round(waited_s, 3)}
    fix = [f"read {'its' if len(names) == 1 else 'their'} log: envctl logs {' '.join(names)}"]
    if final:
        message = f'service "{names[0]}" cannot become ready'
    else:
        quoted = ", ".join(f'"{name}"' for name in names)
        what = f"service {quoted} was" if len(names) == 1 else f"{len(names)} services ({quoted}) were"
        message = f"{what} not ready after {waited_s:.1f} s"
        fix.append("raise ready_timeout (or --timeout) if it only needs longer")
    return ServiceNotReady(
        message,
        cause=_quote(courses[0].answers[-1].detail) if len(courses) == 1 and courses[0].answers else None,
        evidence=[line for course in courses for line in _story(course)],
        fix=fix,
        subject=subject,
    )


def _story(course: Course) -> list[str]:
    tries = "1 try" if course.attempts == 1 else f"{course.attempts} tries"
    heading = f"{course.service}: waited until it {course.probe.describe()}; {tries}, last answers:"
    return [heading, *(f"  {_quote(answer.detail)}" for answer in course.answers or ()), *_silence(course)]


def _silence(course: Course) -> list[str]:
    return [] if course.answers else ["  none"]


def _cause(death: Death) -> str | None:
    meaning = _MEANING.get(death.exit_code) if death.exit_code is not None else None
    lines = [line for line in death.log_tail if line.strip()][-_QUOTED_LINES:]
    quoted = " / ".join(_quote(line.strip()) for line in lines)
    said = f'its last {"line" if len(lines) == 1 else "lines"}: "{quoted}"' if lines else "it logged nothing"
    return f"{meaning}; {said}" if meaning else said


def _quote(text: str) -> str:
    return escape(text, limit=_QUOTED_CHARACTERS)
