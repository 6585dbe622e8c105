"""A workflow for GitHub Actions."""

from __future__ import annotations

from envctl.plan.ci.repository import DEFAULT_PYTHON, Node, Python, Repository, commands_of_tests, install_commands
from envctl.plan.ci.script import ARTIFACTS, UNKNOWN_TEST, commented, requirement, run_command

_INDENT = " " * 6

_HEAD = """\
# The tests of this repository, with the services they need. Made by `envctl ci github`, yours to change.
# Its place is .github/workflows/tests.yml.
name: tests

on:
  push:
    branches: [main, master]
  pull_request:

permissions:
  contents: read # enough to check out

concurrency: # of a pull request only the newest commit is tested
  group: ${{ github.workflow }}-${{ github.ref }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}

jobs:
  test:
    runs-on: ubuntu-latest # has Docker; on a machine without it, install 'envctl[embedded]'
    timeout-minutes: 20
    steps:
      - uses: actions/checkout@v7
        with:
          persist-credentials: false
"""

_TEST = """
      # Starts the services, runs the tests with DATABASE_URL, REDIS_URL and the other variables, removes the services.
      # With `exec` envctl is the step's own process, which is what GitHub tells when somebody cancels the job.
      - name: Test
        run: exec {run}
        timeout-minutes: 15 # less than the job has, so that a test that hangs is explained below
"""

_UPLOAD = f"""
      - name: Keep what explains the failure
        if: failure()
        uses: actions/upload-artifact@v7
        with:
          name: {ARTIFACTS}-${{{{ github.job }}}}-${{{{ github.run_attempt }}}}
          path: {ARTIFACTS}
          if-no-files-found: ignore
          retention-days: 7
"""

_OR = """
      # Or, in place of the step "Test", several steps that use the same services:
      #
"""


def workflow(repository: Repository, version: str) -> str:
    """The file for `.github/workflows/`.

    Args:
        repository: What is tested.
        version: Of envctl, which the job installs too.
    """
    tests = commands_of_tests(repository)
    parts = [
        _HEAD,
        _setup_python(repository.python),
        _setup_node(repository.node) if repository.node else "",
        _step("Install the packages", install_commands(repository)),
        _step("Install envctl", [f"python -m pip install {requirement(version)}"]),
        _TEST.format(run=run_command(tests)),
        _UPLOAD,
        _OR,
        "\n".join(commented(_several_steps(tests), _INDENT)) + "\n",
    ]
    return "".join(parts)


def _setup_python(python: Python | None) -> str:
    options = _version("python", python.version_file if python else "", f'"{DEFAULT_PYTHON}"')
    options += ["cache: pip"] if python and python.manager == "pip" and python.cached else []
    return _action("setup-python", options)


def _setup_node(node: Node) -> str:
    options = _version("node", node.version_file, "lts/*")
    options += ["cache: npm"] if node.manager == "npm" and node.locked else []
    return _action("setup-node", options)


def _version(language: str, file: str, otherwise: str) -> list[str]:
    return [f"{language}-version-file: {file}" if file else f"{language}-version: {otherwise}"]


def _action(name: str, options: list[str]) -> str:
    lines = [f"- uses: actions/{name}@v7", "  with:", *(f"    {option}" for option in options)]
    return "\n" + "".join(f"{_INDENT}{line}\n" for line in lines)


def _step(name: str, commands: list[str]) -> str:
    if not commands:
        return ""
    return "\n" + "".join(f"{_INDENT}{line}\n" for line in _step_lines(name, commands))


def _step_lines(name: str, commands: list[str]) -> list[str]:
    if len(commands) == 1:
        return [f"- name: {name}", f"  run: {commands[0]}"]
    return [f"- name: {name}", "  run: |", *(f"    {command}" for command in commands)]


def _several_steps(tests: list[str]) -> list[str]:
    return [
        "- name: Start the services",
        "  run: |",
        "    envctl up",
        "    envctl env --format github # DATABASE_URL and the others, for the steps that follow",
        *(f"- run: {test}" for test in tests or [UNKNOWN_TEST]),
        "- name: Remove the services",
        "  if: always()",
        "  run: envctl down",
    ]
