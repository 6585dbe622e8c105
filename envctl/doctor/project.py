"""The checkout and its configuration."""

from __future__ import annotations

from collections.abc import Iterator

from envctl.conductor.place import Selection
from envctl.doctor.finding import Finding
from envctl.host import config
from envctl.host.git import find_checkout
from envctl.model import BranchSource
from envctl.plan import naming

_SOURCES = {
    BranchSource.OPTION: "--branch",
    BranchSource.CI: "the CI system's variables",
    BranchSource.GIT: "git",
    BranchSource.DETACHED: "detached head",
    BranchSource.NONE: "no git repository",
}


def checkout(selection: Selection) -> Iterator[Finding]:
    """Whose environment it would be, and how that was found out."""
    found = find_checkout(selection.start, selection.environ, selection.branch)
    yield Finding("checkout", "root", found.root)
    yield Finding("checkout", "branch", f"{found.branch or 'none'} (from {_SOURCES[found.source]})")
    yield Finding("checkout", "CI", found.ci or "none")


def configuration(selection: Selection) -> Iterator[Finding]:
    """The configuration file, whether it is valid, and what it decides."""
    spec = config.load(selection.file, selection.start, selection.environ)
    yield Finding("configuration", "file", spec.source or "none: the default services are used")
    found = find_checkout(selection.start, selection.environ, selection.branch)
    yield Finding("configuration", "environment", naming.identify(found, spec.project, selection.label).name)
    services = (f"{service.name} ({service.kind})" for service in spec.services.values())
    yield Finding("configuration", "services", ", ".join(services))
