"""What is run. Its folder's name is the package's, so that the parts import each other without envctl around them."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - quicker than pathlib
    loop = __import__("keeper.loop", fromlist=["main"])
    del sys.path[0]  # what is beside the package must not hide a module of the library
    loop.main(int(sys.argv[1]))
    os._exit(0)  # somebody waits for us, and there is nothing that an orderly end would write
