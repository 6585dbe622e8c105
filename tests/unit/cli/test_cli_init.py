"""`envctl init` and `envctl schema`, with the real configuration reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_samples import Call

from envctl.host import config


def test_init_writes_a_file_that_loads(envctl: Call, tmp_path: Path) -> None:
    """The file and the schema it names are there, readable by all like other files of a repository."""
    written = envctl("init", "--format", "json").json["written"]
    assert {Path(path).name for path in written} >= {"envctl.yaml"}
    assert all(Path(path).stat().st_mode & 0o777 == 0o644 for path in written)
    assert config.load(None, tmp_path, {}).services


@pytest.mark.provokes("WOULD_OVERWRITE")
def test_init_does_not_overwrite_unless_told(envctl: Call, tmp_path: Path) -> None:
    """Somebody's file is left as it is and nothing else is written; `--force` replaces it."""
    (tmp_path / "envctl.yaml").write_text("services: {}\n")
    outcome = envctl("init", "--format", "json")
    assert (outcome.exit, outcome.error["code"]) == (78, "WOULD_OVERWRITE")
    assert [path.name for path in tmp_path.iterdir()] == ["envctl.yaml"]
    assert (tmp_path / "envctl.yaml").read_text() == "services: {}\n"
    assert envctl("init", "--force").exit == 0
    assert "postgres" in (tmp_path / "envctl.yaml").read_text()


def test_init_writes_into_the_root_of_the_repository(
    envctl: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a subfolder too: that is where the file is looked for."""
    for folder in (".git/objects", ".git/refs", "src"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    monkeypatch.chdir(tmp_path / "src")
    assert envctl("init").exit == 0
    assert (tmp_path / "envctl.yaml").exists()


def test_init_to_stdout_writes_nothing(envctl: Call, tmp_path: Path) -> None:
    """Only the configuration is printed."""
    outcome = envctl("init", "--stdout")
    assert "services:" in outcome.out
    assert "$id" not in outcome.out
    assert list(tmp_path.iterdir()) == []


def test_schema_is_json(envctl: Call) -> None:
    """The schema of the reader is what is printed."""
    assert json.loads(envctl("schema").out) == config.json_schema()
