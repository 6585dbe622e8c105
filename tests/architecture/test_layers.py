"""Imports point down only, and what decides imports nothing that depends on the moment or the machine."""

from __future__ import annotations

import ast

import source

# Each room may import what stands on a later line; rooms on one line do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__", "pytest_plugin"),
    ("fixtures",),
    ("cli",),
    ("doctor",),
    ("api", "reaper"),
    ("running_workers",),
    ("running", "saved"),
    ("environment", "fleet"),
    ("artifacts", "preparing", "snapshots", "resetting", "lending", "workers", "reseeding"),
    ("maker", "inplace", "numbers", "renewing"),
    ("shaping",),
    ("creation", "reuse", "live", "inside", "provisional", "listing"),
    ("session", "seeding"),
    ("removing",),
    ("bringup", "teardown", "rendering", "unchanged"),
    ("gather", "target", "dirty", "freshness", "handed", "ending"),
    ("place",),
    ("reaching", "record", "provenance", "repair", "sweeping", "gone", "orphans"),
    ("marker",),
    ("conductor",),
    ("engines",),
    ("kinds.probe",),
    ("ready",),
    ("host",),
    ("report",),
    ("plan",),
    ("kinds.kind",),
    ("kinds",),
    ("model",),
    ("errors",),
    ("version",),
)

PURE = ("envctl.model", "envctl.errors", "envctl.report", "envctl.plan", "envctl.kinds.base")
# What a pure room may use of the standard library: words, numbers and shapes.
PURE_LIBRARY = {
    *("__future__", "base64", "collections", "collections.abc", "dataclasses", "decimal", "difflib", "enum"),
    *("functools", "hashlib", "ipaddress", "itertools", "json", "operator", "re", "shlex", "string", "textwrap"),
    *("types", "typing", "unicodedata", "urllib.parse"),
    "importlib",  # brings in the package's own files when they are first needed
}


def room(module: str) -> str:
    """The room a module belongs to."""
    parts = module.split(".")[1:]
    if not parts:
        return "version"
    if parts[0] == "kinds" and len(parts) >= 3:
        return "kinds.kind" if parts[2] == "kind" else "kinds.probe"
    if parts[0] == "conductor" and parts[-1] != "data":
        return parts[-1]
    return parts[0]


HEIGHT = {name: -number for number, line in enumerate(LAYERS) for name in line}


def test_every_module_is_in_a_room() -> None:
    """No module stands outside the table of rooms, so that none escapes the rule."""
    assert {room(name) for name in source.modules()} <= HEIGHT.keys()


def test_imports_point_down() -> None:
    """A module imports only from its own room and from rooms below it, inside functions too."""
    wrong = [
        f"{module} imports {target}"
        for module in source.modules()
        if module != "envctl"  # re-exports what is public, and imports it when it is asked for (test_public.py)
        for target in source.imports(module)
        if target.split(".")[0] == "envctl" and not _may_import(room(module), room(target))
    ]
    assert wrong == []


def _may_import(own: str, other: str) -> bool:
    return own == other or HEIGHT[other] < HEIGHT[own]


def test_kinds_do_not_know_each_other() -> None:
    """A kind imports nothing of another kind: a new one is a new folder and nothing else."""
    for module in source.modules():
        parts = module.split(".")
        if parts[1:2] != ["kinds"] or len(parts) < 4:
            continue
        foreign = [t for t in source.imports(module) if t.startswith("envctl.kinds.") and t.split(".")[2] != parts[2]]
        assert set(foreign) <= {"envctl.kinds.base", "envctl.kinds.contents"}, f"{module} imports {foreign}"


def _pure_modules() -> list[str]:
    return [
        name
        for name in source.modules()
        if name.startswith(PURE) or (name.startswith("envctl.kinds.") and name.endswith(".kind"))
    ]


def test_pure_rooms_import_only_what_is_pure() -> None:
    """What decides uses no clock, randomness, disk, network or environment variable."""
    for module in _pure_modules():
        outside = {target for target in source.imports(module) if target.split(".")[0] != "envctl"}
        assert outside <= PURE_LIBRARY, module


def test_pure_rooms_open_nothing() -> None:
    """Not even through a builtin."""
    for module in _pure_modules():
        names = {node.id for node in ast.walk(source.tree(module)) if isinstance(node, ast.Name)}
        assert not names & {"open", "input", "print", "exec", "eval"}, module


def test_sleeping_is_done_in_one_file() -> None:
    """Nothing but host/clock.py sleeps."""
    sleepers = set()
    for module in source.modules():
        for node in ast.walk(source.tree(module)):
            called = isinstance(node, ast.Attribute) and node.attr == "sleep"
            imported = isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names)
            if called or imported:
                sleepers.add(module)
    assert sleepers == {"envctl.host.clock"}


def test_no_command_goes_through_a_shell() -> None:
    """Every program is started with an argument list, so that no name of a branch or service is ever interpreted."""
    for module in source.modules():
        for call in source.calls(module):
            name = ast.unparse(call.func)
            assert name not in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}, module
            shell = [word for word in call.keywords if word.arg == "shell"]
            assert not shell, f"{module}:{call.lineno}: shell="


def test_only_sqlite_opens_the_registry() -> None:
    """No code opens the database file itself: closing any descriptor of it drops every lock this process has on it."""
    for module in source.modules():
        if not module.startswith("envctl.host.registry"):
            continue
        for call in source.calls(module):
            name = ast.unparse(call.func)
            reads = name == "open" or (name.endswith((".read_bytes", ".read_text", ".open")) and name != "os.open")
            if reads:
                text = ast.unparse(call)
                assert "registry.db" not in text, f"{module}:{call.lineno}: {text}"
                assert "self.path" not in text, f"{module}:{call.lineno}: {text}"


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """No module imports a heavy library for all who import that module."""
    heavy = {"python_on_whales", "docker", "httpx", "psycopg", "redis", "pydantic", "structlog", "asyncio", "requests"}
    for module in source.modules():
        found = {target.split(".")[0] for target in source.imports(module, at_import=True)}
        assert not found & heavy, module
