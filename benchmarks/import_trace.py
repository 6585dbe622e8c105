"""Runs a Python program and notes who imports each module first: `python import_trace.py NOTES PROGRAM [ARGUMENT…]`.

One line for each module into NOTES: its name, the module that asked for it, and the function there, "" at its top.
"""

import os
import sys

NOTES = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def note(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: `import` comes once for each module that is not there yet."""
    if event != "import":
        return
    frame = sys._getframe(1)  # noqa: SLF001 - there is no other way to ask who called
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("importlib", "_frozen_importlib")):
        frame = frame.f_back
    function = "" if frame.f_code.co_name == "<module>" else frame.f_code.co_name
    os.write(NOTES, f"{arguments[0]}\t{frame.f_globals.get('__name__', '')}\t{function}\n".encode())


program = sys.argv[2]
sys.argv = sys.argv[2:]
sys.addaudithook(note)
with open(program, "rb") as source:  # noqa: PTH123 - pathlib would be imported by us, not by the program
    code = compile(source.read(), program, "exec")
exec(code, {"__name__": "__main__", "__file__": program})
