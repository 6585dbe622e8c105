"""Start the server: ``python -m wsserver``."""

import signal
import sys


def main() -> int:
    """Run until a signal; return the process's exit code."""
    # As process 1 of a container a signal without a handler is ignored, so a stop that comes while the
    # imports below still run would otherwise wait for the engine's SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from .app import start

    return start()


if __name__ == "__main__":
    sys.exit(main())
