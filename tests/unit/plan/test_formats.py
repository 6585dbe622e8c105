"""Every value comes back out of every format, read by the program the format is for (or by its documented rules)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from github_runner import read_file
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envctl.errors import UsageError
from envctl.plan import formats
from envctl.plan.ci.commands import github_masks
from envctl.plan.formats import FORMATS, MASK, render

SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh", "ksh", "mksh", "yash") if shutil.which(shell)]
EMPTY = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}

NASTY = [
    "",
    "plain",
    "two words",
    "  around  ",
    "it's",
    'say "hi"',
    'it\'s "both" $HOME `id` \\ !\nand more',
    "$HOME ${HOME} $(id) $$ $",
    "'$HOME' '${HOME}'",
    "`id` '`id`'",
    "#comment",
    "a #b",
    "a#b'",
    "!history!",
    "trailing\\",
    "trailing'\\",
    "a\\b \\n \\\\ \\' \\\"",
    "l1\nl2\n",
    "\n'l2'\n",
    "EOF\nENVCTL=x\n",
    "a<<b",
    "漢字 é ü 🎉",
    "\u202egnp",
    "\u2018smart\u2019 \u201asingle\u201b '\u2019'",
    "\ttab\t",
    "\x1b[31m\x07\x7f\x85\u2028",
    "{a} [b] *?~ ~/x a:~ & ; | < > ( )",
    "=a=b=",
    "-n",
    "%0A%25",
    "${ENVCTL_DOLLAR}'",
    "'",
    '"',
    "\\",
    '"\'"',
    "'); rm -rf /; ('",
]

ANY = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
PUNCTUATION = st.text(alphabet="'\"`$\\{}()!#= \t\na:-rn", max_size=12)
VALUES = st.one_of(ANY, PUNCTUATION, st.sampled_from(NASTY))
BATCH = st.lists(VALUES, min_size=1, max_size=60).map(lambda values: {f"V{i}": v for i, v in enumerate(values)})

by_process = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""A process per example: few examples, each with many values."""


def everything(test: object) -> object:
    """Give a property test the nasty values as its first example."""
    return example({f"V{i}": value for i, value in enumerate(NASTY)})(test)  # type: ignore[type-var]  # a decorator of decorators


def environment_of(command: list[str]) -> dict[str, str]:
    """The environment that `command` prints with `env -0`."""
    done = subprocess.run(command, env=EMPTY, capture_output=True, check=True)
    assert done.stderr == b""
    pairs = (pair.partition("=") for pair in done.stdout.decode().split("\0") if pair)
    return {name: value for name, _, value in pairs}


def chosen(found: dict[str, str], wanted: dict[str, str]) -> dict[str, str | None]:
    """What was found for each variable wanted."""
    return {name: found.get(name) for name in wanted}


def write(folder: Path, text: str) -> Path:
    """The text as a file, byte for byte."""
    file = folder / "variables.env"
    file.write_bytes(text.encode())
    return file


# -- shell ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
@by_process
@everything
@given(variables=BATCH)
def test_shell_is_read_back_by_every_shell(tmp_path: Path, shell: str, variables: dict[str, str]) -> None:
    """`eval "$(envctl env --format shell)"` sets exactly the values, and runs nothing."""
    file = write(tmp_path, render(variables, "shell"))
    found = environment_of([shell, "-c", f'eval "$(cat {file})"; exec env -0'])
    assert chosen(found, variables) == variables


# -- dotenv --------------------------------------------------------------------------------------------------------


@everything
@given(variables=BATCH)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_dotenv_is_read_back_by_python_dotenv(tmp_path: Path, variables: dict[str, str]) -> None:
    """Python's reader gets every value, whatever is in it."""
    file = write(tmp_path, render(variables, "dotenv"))
    assert chosen(dict(dotenv_values(file)), variables) == variables  # type: ignore[arg-type]  # a test gives what it likes


@pytest.mark.parametrize("shell", SHELLS)
@by_process
@everything
@given(variables=BATCH)
def test_dotenv_can_be_sourced(tmp_path: Path, shell: str, variables: dict[str, str]) -> None:
    r"""`set -a; . ./.env` sets exactly the values and runs nothing; only a carriage return is read as `\r`."""
    file = write(tmp_path, render(variables, "dotenv"))
    found = environment_of([shell, "-c", f"set -a; . {file}; exec env -0"])
    assert chosen(found, variables) == {name: value.replace("\r", "\\r") for name, value in variables.items()}


def has_compose() -> bool:
    """Whether the Compose plugin is installed; no engine is needed to read a file."""
    docker = shutil.which("docker")
    return docker is not None and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
@settings(by_process, max_examples=5)
@everything
@given(variables=BATCH)
def test_dotenv_is_read_back_by_compose(tmp_path: Path, variables: dict[str, str]) -> None:
    """`env_file:` of a Compose file gets every value."""
    file = write(tmp_path, render(variables, "dotenv"))
    compose = tmp_path / "compose.yaml"
    compose.write_text(f"name: x\nservices:\n  a:\n    image: x\n    env_file: [{file}]\n")
    command = ["docker", "compose", "-f", str(compose), "config", "--format", "json"]
    printed = subprocess.run(command, env=EMPTY, capture_output=True, check=True).stdout
    found = json.loads(printed)["services"]["a"]["environment"]
    # `config` doubles each dollar, so that its output is a Compose file again.
    assert {n: v.replace("$$", "$") for n, v in chosen(found, variables).items() if v is not None} == variables


HARD_FOR_NODE = re.compile(r"""\r|\\\\|\\$|\$\{|'(?s:.)*["$`\\]|["$`\\](?s:.)*'""")
"""What Node's readers have no notation for that a shell could safely read as well; see docs/variables.md."""


@pytest.mark.node
@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
@by_process
@everything
@given(variables=BATCH)
def test_dotenv_is_read_back_by_node(tmp_path: Path, variables: dict[str, str]) -> None:
    """`node --env-file` gets every value but the documented hard ones."""
    easy = {name: value for name, value in variables.items() if not HARD_FOR_NODE.search(value)}
    file = write(tmp_path, render(easy, "dotenv"))
    script = "process.stdout.write(JSON.stringify(process.env))"
    done = subprocess.run(["node", f"--env-file={file}", "-e", script], env=EMPTY, capture_output=True, check=True)
    assert chosen(json.loads(done.stdout), easy) == easy


def test_dotenv_leaves_simple_values_unquoted() -> None:
    """Addresses and URLs stand as they are, also for readers that know no quotes (`docker run --env-file`)."""
    url = "postgresql://app:0123abcd@127.0.0.1:20431/shop?sslmode=disable"
    assert render({"DATABASE_URL": url, "EMPTY": ""}, "dotenv") == f"DATABASE_URL={url}\nEMPTY=\n"


# -- json ----------------------------------------------------------------------------------------------------------


@everything
@given(variables=BATCH)
def test_json_is_read_back(variables: dict[str, str]) -> None:
    """One object, in the order of the variables, in plain ASCII so that no terminal or locale matters."""
    text = render(variables, "json")
    assert text.isascii()
    assert list(json.loads(text).items()) == list(variables.items())


# -- github --------------------------------------------------------------------------------------------------------


@everything
@given(variables=BATCH)
def test_github_is_read_back(variables: dict[str, str]) -> None:
    """Each value is one variable; no value can end early or begin another."""
    assert read_file(render(variables, "github")) == variables


def test_github_never_uses_a_delimiter_that_is_in_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the derived delimiter were there. The hash is replaced, since a collision cannot be made."""

    class Fixed:
        def __init__(self, data: bytes) -> None: ...

        def hexdigest(self) -> str:
            return "0" * 64

    monkeypatch.setattr("hashlib.sha256", Fixed)
    variables = {"A": f"x\nENVCTL_{'0' * 32}\nB=y", "C": f"\nENVCTL_{'0' * 32}__\nENVCTL_{'0' * 32}_"}
    assert read_file(render(variables, "github")) == variables


@given(st.lists(VALUES))
@example(["100%", "%0A", "%250D", "a\r\nb\n\nc"])
def test_every_line_of_a_secret_is_masked(secrets: list[str]) -> None:
    """One command for each line, its data escaped as the runner decodes it, and never an empty mask."""
    text = github_masks(secrets)
    masks = [line.removeprefix("::add-mask::") for line in text.split("\n")[:-1]]
    assert text.count("::add-mask::") >= len(masks)
    decoded = [m.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") for m in masks]
    wanted = {line for secret in secrets for line in re.split("[\r\n]", secret) if line.strip()}
    assert set(decoded) == wanted
    assert len(decoded) == len(wanted)


# -- gitlab --------------------------------------------------------------------------------------------------------


def read_gitlab_report(text: str) -> dict[str, str]:
    """GitLab's dotenv report: `KEY=value` by line, both ends stripped, quotes kept, no empty lines or comments."""
    found = {}
    for line in text.split("\n")[:-1]:
        name, value = re.fullmatch(r"([A-Za-z0-9_]+)=(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]  # it is there
        found[name] = value.strip()
    return found


@everything
@given(variables=BATCH)
def test_gitlab_carries_or_refuses(variables: dict[str, str]) -> None:
    """What GitLab would change is refused; everything else is read back."""
    carried = {n: v for n, v in variables.items() if v == v.strip() and not set(v) & set("\r\n")}
    assert read_gitlab_report(render(carried, "gitlab")) == carried
    for name in variables.keys() - carried.keys():
        with pytest.raises(UsageError) as caught:
            render({name: variables[name]}, "gitlab")
        assert caught.value.subject == {"variable": name}


# -- powershell ----------------------------------------------------------------------------------------------------

QUOTES = "'\u2018\u2019\u201a\u201b"
"""What PowerShell's language specification (2.3.5.2) calls a single-quote-character."""


def read_powershell(text: str) -> dict[str, str]:
    """Assignments of verbatim strings, by the specification: a pair of quotes inside stands for one."""
    found = {}
    while text:
        start = re.match(rf"\$env:([A-Za-z0-9_]+) = [{QUOTES}]", text)
        assert start, f"not an assignment: {text!r}"
        body = re.compile(rf"((?:[^{QUOTES}]|[{QUOTES}][{QUOTES}])*)[{QUOTES}]\n", re.DOTALL).match(text, start.end())
        assert body, f"no end: {text!r}"
        found[start[1]] = re.sub(rf"[{QUOTES}]([{QUOTES}])", r"\1", body[1])
        text = text[body.end() :]
    return found


@everything
@given(variables=BATCH)
def test_powershell_is_read_back(variables: dict[str, str]) -> None:
    """Typographic quotes end a PowerShell string as well; none in a value does."""
    assert read_powershell(render(variables, "powershell")) == variables


# -- table ---------------------------------------------------------------------------------------------------------


@given(BATCH)
def test_a_table_cannot_steer_the_terminal(variables: dict[str, str]) -> None:
    """One line for each variable, holding no control or direction character."""
    lines = render(variables, "table").split("\n")[:-1]
    assert [line.split(" ")[0] for line in lines] == list(variables)
    assert all(line.isprintable() for line in lines)


def test_a_table_is_aligned_and_hides_secrets() -> None:
    """Longer secrets first, so that one which holds another is hidden whole; a note tells how to see them."""
    variables = {"A": "x", "LONG_NAME": "redis://:secret-two@h", "B": "secret"}
    assert render(variables, "table", secrets=["secret", "secret-two", ""]) == (
        f"A          x\nLONG_NAME  redis://:{MASK}@h\nB          {MASK}\n\n"
        "passwords are hidden; `envctl env --format dotenv` shows them\n"
    )


def test_a_table_without_secrets_has_no_note() -> None:
    """Nothing hidden, nothing to tell."""
    assert render({"A": "x"}, "table", secrets=["y"]) == "A  x\n"


# -- every format --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_what_no_format_can_carry_is_refused(name: formats.Format, value: str) -> None:
    """NUL and half a surrogate pair are no text; the variable is named."""
    with pytest.raises(UsageError) as caught:
        render({"FINE": "x", "BAD": value}, name)
    assert caught.value.subject == {"variable": "BAD"}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bad", ["", "1A", "A-B", "A B", "A=B", "A\nB", "é", "A;id"])
def test_a_name_that_is_no_variable_is_refused(name: formats.Format, bad: str) -> None:
    """A name could inject as well as a value could."""
    with pytest.raises(UsageError):
        render({bad: "x"}, name)


@pytest.mark.parametrize("name", FORMATS)
def test_no_variables_are_no_lines(name: formats.Format) -> None:
    """An empty set is valid in every format."""
    assert render({}, name) == ("{}\n" if name == "json" else "")


# -- the documentation ---------------------------------------------------------------------------------------------

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "variables.md"


@pytest.mark.parametrize("name", FORMATS)
def test_the_documented_example_is_what_is_printed(name: formats.Format) -> None:
    """docs/variables.md shows the real output of each format."""
    variables = {
        "ENVCTL_BRANCH": "fix/it's-late",
        "DATABASE_URL": "postgresql://app:8f14e45f@127.0.0.1:20431/shop",
        "GREETING": "two words, $5",
        "NOTE": "first line\nsecond line",
    }
    if name == "gitlab":
        del variables["NOTE"]
    assert f"```{name}\n{render(variables, name, secrets=['8f14e45f'])}```" in DOCUMENTATION.read_text()
