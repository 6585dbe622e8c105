"""Whatever the file holds, the answer is a specification or one of two errors."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from envctl.errors import ConfigInvalid, EnvctlError, UnsafeSetting
from envctl.host.config import load
from envctl.host.config.keys import SERVICE, TOP
from envctl.model import EnvironmentSpec

_words = st.sampled_from(
    [*TOP, *SERVICE, "http", "tcp", "exec", "log", "path", "name", "file", "target", "postgres", "redis", "context",
     "a", "a:1", "8080:80", "30s", "64m", "/x", "a:/b", "./a:/b", "${A}", "${A:-b}", "${", "{postgres.url}", "{a.b}",
     "<<", "true", "-1", "0", "80", "1e9", "~", "\0", "\u202e", "", "/", ".", "..", "container", "host",
     "tables", "command", "max_size", "*.sql",
     "auto", "SIGINT", "src/**", "**/*.ts", "[a-", "system", "postgres_bin", "$PORT"]
)  # fmt: skip
_scalars = st.one_of(_words, st.text(max_size=8), st.integers(), st.booleans(), st.none(), st.floats())
_trees = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words | st.text(max_size=4), inner, max_size=6),
    max_leaves=25,
)
_services = st.dictionaries(
    st.sampled_from(["postgres", "redis", "websocket", "a", "b-c", "b_c", "A"]),
    st.dictionaries(st.sampled_from([*SERVICE, "database", "path"]), _trees, max_size=5),
    max_size=4,
)
_files = st.fixed_dictionaries({"services": _services}, optional={key: _trees for key in TOP if key != "services"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder shared by all examples."""
    return tmp_path_factory.mktemp("project")


def outcome(folder: Path, content: bytes) -> None:
    """Loads `content`; anything but a specification or a foreseen error fails, and so does slowness."""
    file = folder / "envctl.yaml"
    file.write_bytes(content)
    began = time.process_time()
    result: EnvironmentSpec | EnvctlError
    try:
        result = load(file, folder, {"A": "1"})
    except (ConfigInvalid, UnsafeSetting) as error:
        result = error
    assert time.process_time() - began < 1
    if isinstance(result, EnvctlError):
        assert result.evidence
        assert all(line.isprintable() for line in result.evidence if line.startswith("envctl.yaml:"))


# No shrinking: it takes minutes for trees, and an example as found says enough.
_phases = (Phase.explicit, Phase.reuse, Phase.generate)
_quick = settings(max_examples=80, deadline=None, phases=_phases, suppress_health_check=[HealthCheck.too_slow])


@_quick
@given(content=st.binary(max_size=300))
def test_any_bytes(folder: Path, content: bytes) -> None:
    """Bytes without any sense."""
    outcome(folder, content)


@_quick
@given(content=st.text(alphabet="abc:-[]{}&*!|>'\"#%@`,?\n\t $~<0\u2028\x85", max_size=80))
def test_any_punctuation(folder: Path, content: str) -> None:
    """Text made of what YAML gives a meaning to."""
    outcome(folder, content.encode())


@_quick
@given(tree=_trees)
def test_any_tree(folder: Path, tree: object) -> None:
    """Valid YAML of any shape."""
    outcome(folder, yaml.safe_dump(tree, allow_unicode=True).encode())


@settings(_quick, max_examples=60)
@given(tree=_files)
def test_any_settings(folder: Path, tree: object) -> None:
    """The right keys with wrong, odd and right values."""
    outcome(folder, yaml.safe_dump(tree, sort_keys=False).encode())


def test_the_slow_parser_says_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML has no C parser, its Python one gives the same tree."""
    file = folder / "slow.yaml"
    file.write_text("name: a\nservices:\n  x: {image: 'a', port: 80, environment: {A: 1, B: no}}\n")
    fast = load(file, folder, {})
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert load(file, folder, {}) == fast
    file.write_text("name: [")
    with pytest.raises(ConfigInvalid):
        load(file, folder, {})
