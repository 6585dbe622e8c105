"""The most memory a command and the programs it starts have at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Row, interleave, series
from benchmarks.footprint import peak_mib
from benchmarks.options import Options
from benchmarks.process import running
from benchmarks.sandbox import Sandbox

_PEER_UP, _PEER_PORT = "docker compose up -d --wait", "docker compose port"
_NOTE = "sum over the process tree, shared pages divided among their users (PSS), sampled"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """In cycles of their own: the sampling would disturb what is timed."""
    project, peer = place.project("memory"), place.peer("memory")
    queries: dict[str, list[float]] = {"ours": [], "peer": []}

    def ours() -> float:
        most = _peak(project.up_argv, project.root, project.environ)
        queries["ours"].append(_peak(project.argv("env"), project.root, project.environ))
        project.down().checked()
        return most

    def theirs() -> float:
        most = _peak(peer.up_argv(), peer.folder, peer.environ)
        queries["peer"].append(_peak(peer.argv("port", "postgres", "5432"), peer.folder, peer.environ))
        peer.down().checked()
        return most

    ups = interleave(options.runs, {"envctl up": ours, _PEER_UP: theirs})
    return [
        Row("memory", "peak memory of the first up", "MiB", ups["envctl up"], ups[_PEER_UP], note=_NOTE),
        Row(
            "memory",
            "peak memory of env",
            "MiB",
            series("envctl env", queries["ours"]),
            series(_PEER_PORT, queries["peer"]),
        ),
    ]


def _peak(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> float:
    with running(argv, cwd, environ) as child:
        most = peak_mib(child.process)
        child.finish(10.0).checked()
    return most
