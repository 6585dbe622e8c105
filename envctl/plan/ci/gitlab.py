"""A job for GitLab CI."""

from __future__ import annotations

from envctl.plan.ci.repository import DEFAULT_PYTHON, Repository, commands_of_tests, install_commands
from envctl.plan.ci.script import ARTIFACTS, UNKNOWN_TEST, commented, requirement, run_command

_HEAD = """\
# The tests of this repository, with the services they need. Made by `envctl ci gitlab`, yours to change.
# Its place is .gitlab-ci.yml.

workflow:
  auto_cancel:
    on_new_commit: interruptible
  rules: # one pipeline, not two, for a branch with a merge request
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - if: $CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS
      when: never
    - if: $CI_COMMIT_BRANCH

test:
"""

_JOB = """\
  interruptible: true # a newer commit of the branch ends it
  timeout: 20 minutes
  variables:
    PIP_CACHE_DIR: $CI_PROJECT_DIR/.cache/pip
  cache:
    key: $CI_JOB_NAME
    paths: [.cache/pip]
"""

_TAIL = f"""\
  after_script: # also after a failure, and when somebody cancels the job
    - envctl down --all # of this container; a runner that shares its machine among jobs needs `envctl down`
  artifacts:
    when: on_failure
    name: {ARTIFACTS}-$CI_JOB_NAME_SLUG
    paths: [{ARTIFACTS}/]
    expire_in: 1 week
"""

_SEVERAL = """\

  # Or, in place of the script above, several commands that use the same services:
  #
"""

_DOCKER = """\

  # The services run as processes of the job's container, which needs no rights. Where the runner is privileged they can
  # run in Docker, with any image (docs/engines.md of envctl tells more):
  #
  # services:
  #   - name: docker:dind
  #     alias: docker
  #     command: [--tls=false]
  # variables:
  #   DOCKER_HOST: tcp://docker:2375 # only this job can reach it
  #   DOCKER_TLS_CERTDIR: ""
  #
  # and as the first of before_script, for Docker's command line:
  #
  #   - apt-get update
  #   - apt-get install --yes --no-install-recommends docker-cli docker-compose
"""


def pipeline(repository: Repository, version: str) -> str:
    """The file `.gitlab-ci.yml`.

    Args:
        repository: What is tested.
        version: Of envctl, which the job installs too.
    """
    tests = commands_of_tests(repository)
    return "".join(
        [
            _HEAD,
            f"  image: {_image(repository)}\n",
            _JOB,
            _list("before_script", [*_install_envctl(repository, version), *install_commands(repository)]),
            _list("script", [run_command(tests)]),
            _TAIL,
            _SEVERAL,
            "\n".join(commented(_several(tests), "  ")) + "\n",
            _DOCKER,
        ]
    )


def _only_node(repository: Repository) -> bool:
    return repository.node is not None and repository.python is None


def _image(repository: Repository) -> str:
    if repository.node and _only_node(repository):
        return f"node:{repository.node.version or 'lts'}"
    return f"python:{(repository.python.version if repository.python else '') or DEFAULT_PYTHON}"


def _install_envctl(repository: Repository, version: str) -> list[str]:
    wanted = requirement(version, "[embedded]")
    if _only_node(repository):  # Debian's Python wants a virtual environment
        return [
            "apt-get update",
            "apt-get install --yes --no-install-recommends python3-venv",
            "python3 -m venv /opt/envctl",
            f"/opt/envctl/bin/pip install {wanted}",
            "ln -s /opt/envctl/bin/envctl /usr/local/bin/",
        ]
    both = ["apt-get update", "apt-get install --yes --no-install-recommends nodejs npm"] if repository.node else []
    return [*both, f"python -m pip install {wanted}"]


def _list(name: str, commands: list[str]) -> str:
    return f"  {name}:\n" + "".join(f"    - {command}\n" for command in commands)


def _several(tests: list[str]) -> list[str]:
    commands = ["envctl up", 'eval "$(envctl env --format shell)"', *(tests or [UNKNOWN_TEST])]
    return ["script:", *(f"  - {command}" for command in commands)]
