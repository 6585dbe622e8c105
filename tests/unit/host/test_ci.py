"""CI systems are told apart by the variables they document."""

from __future__ import annotations

import pytest

from envctl.host.ci import CiSystem, detect

CASES = [
    (
        "github pull request",
        {"GITHUB_ACTIONS": "true", "GITHUB_HEAD_REF": "f/x", "GITHUB_REF_NAME": "7/merge", "GITHUB_RUN_ID": "99"},
        CiSystem("github", "f/x", "99"),
    ),
    (
        "github push",
        {"GITHUB_ACTIONS": "true", "GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main"},
        CiSystem("github", "main"),
    ),
    (
        "github tag",
        {"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "v1.2", "GITHUB_REF_TYPE": "tag"},
        CiSystem("github", "v1.2"),
    ),
    (
        "gitlab merge request",
        {"GITLAB_CI": "true", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "f/x", "CI_COMMIT_REF_NAME": "refs/mr/1"},
        CiSystem("gitlab", "f/x"),
    ),
    (
        "gitlab push",
        {"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "main", "CI_PIPELINE_ID": "5", "CI_JOB_ID": "6"},
        CiSystem("gitlab", "main", "5"),
    ),
    (
        "buildkite",
        {"BUILDKITE": "true", "BUILDKITE_BRANCH": "main", "BUILDKITE_BUILD_ID": "a-b"},
        CiSystem("buildkite", "main", "a-b"),
    ),
    (
        "circleci branch",
        {"CIRCLECI": "true", "CIRCLE_BRANCH": "main", "CIRCLE_BUILD_NUM": "3"},
        CiSystem("circleci", "main", "3"),
    ),
    ("circleci tag", {"CIRCLECI": "true", "CIRCLE_TAG": "v1"}, CiSystem("circleci", "v1")),
    ("bitbucket", {"BITBUCKET_BUILD_NUMBER": "4", "BITBUCKET_BRANCH": "main"}, CiSystem("bitbucket", "main")),
    (
        "jenkins change request",
        {"JENKINS_URL": "https://ci", "CHANGE_BRANCH": "f/x", "BRANCH_NAME": "PR-1"},
        CiSystem("jenkins", "f/x"),
    ),
    (
        "jenkins multibranch",
        {"JENKINS_URL": "https://ci", "BRANCH_NAME": "main", "GIT_BRANCH": "origin/main", "BUILD_TAG": "t-1"},
        CiSystem("jenkins", "main", "t-1"),
    ),
    (
        "jenkins plain job",
        {"JENKINS_URL": "https://ci", "GIT_BRANCH": "origin/feature/origin/x"},
        CiSystem("jenkins", "feature/origin/x"),
    ),
    ("jenkins without a branch", {"JENKINS_URL": "https://ci", "GIT_BRANCH": "detached"}, CiSystem("jenkins")),
    ("any other", {"CI": "true"}, CiSystem("generic")),
    ("any other, in numbers", {"CI": "1"}, CiSystem("generic")),
    ("Azure", {"TF_BUILD": "True"}, CiSystem("generic")),
]


@pytest.mark.parametrize(("environ", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_system_is_recognised(environ: dict[str, str], expected: CiSystem) -> None:
    """Name, branch and run come from the system's own variables, beside the general CI=true."""
    assert detect({"CI": "true"} | environ if expected.name != "generic" else environ) == expected


@pytest.mark.parametrize("environ", [{}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}, {"GITHUB_ACTIONS": "false"}])
def test_outside_of_ci_there_is_none(environ: dict[str, str]) -> None:
    """A variable that is empty or says no is not a CI system."""
    assert detect(environ) is None


def test_a_branch_variable_alone_is_no_ci() -> None:
    """Names such as BRANCH_NAME are common; without the system's proof they mean nothing."""
    assert detect({"BRANCH_NAME": "x", "GIT_BRANCH": "y", "CI_COMMIT_REF_NAME": "z"}) is None
