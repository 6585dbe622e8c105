"""Which CI system we run in, from the variables it documents. Reads only the mapping it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class CiSystem:
    """The CI system around this process.

    Attributes:
        name: "github", "gitlab", "buildkite", "circleci", "bitbucket", "jenkins", or "generic" for any other.
        branch: The branch (of a pull request: the branch it comes from; of a tag's build: the tag), or None.
        run_id: What this run is called by the system, "" where unknown.
    """

    name: str
    branch: str | None = None
    run_id: str = ""


class _Names(NamedTuple):
    """Variables of one system: the one that proves it, then those for the branch and the run, best first."""

    proof: str
    branch: tuple[str, ...]
    run_id: tuple[str, ...]


# From each system's page of predefined variables. A pull request's source branch comes before the branch of the build,
# which for a pull request is often a merge of two ("123/merge", "PR-12").
_SYSTEMS = {
    "github": _Names("GITHUB_ACTIONS", ("GITHUB_HEAD_REF", "GITHUB_REF_NAME"), ("GITHUB_RUN_ID",)),
    "gitlab": _Names(
        "GITLAB_CI", ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME"), ("CI_PIPELINE_ID", "CI_JOB_ID")
    ),
    "buildkite": _Names("BUILDKITE", ("BUILDKITE_BRANCH",), ("BUILDKITE_BUILD_ID",)),
    "circleci": _Names("CIRCLECI", ("CIRCLE_BRANCH", "CIRCLE_TAG"), ("CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM")),
    "bitbucket": _Names("BITBUCKET_BUILD_NUMBER", ("BITBUCKET_BRANCH", "BITBUCKET_TAG"), ("BITBUCKET_PIPELINE_UUID",)),
    "jenkins": _Names("JENKINS_URL", ("CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"), ("BUILD_TAG", "BUILD_ID")),
}
_OTHERS = ("CI", "TF_BUILD", "TEAMCITY_VERSION")
_NO = frozenset({"", "0", "false", "no", "off"})
_REMOTE_PREFIXES = ("refs/heads/", "refs/remotes/origin/", "remotes/origin/", "origin/")


def detect(environ: Mapping[str, str]) -> CiSystem | None:
    """The CI system that set `environ`, or None outside CI."""
    for name, names in _SYSTEMS.items():
        if _is_set(environ, names.proof):
            branch = _first(environ, names.branch)
            branch = _without_remote(branch) if name == "jenkins" else branch
            return CiSystem(name, branch or None, _first(environ, names.run_id))
    if any(_is_set(environ, name) for name in _OTHERS):
        return CiSystem("generic")
    return None


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() not in _NO


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _without_remote(branch: str) -> str:
    """Jenkins' git plugin gives `origin/x`, and "detached" where it knows no branch."""
    if branch == "detached":
        return ""
    for prefix in _REMOTE_PREFIXES:
        if branch.startswith(prefix):
            return branch.removeprefix(prefix)
    return branch
