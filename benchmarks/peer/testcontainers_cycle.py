"""Postgres and Redis by Testcontainers: up, one line on stdout, then down when stdin ends."""

import sys

from testcontainers_pair import Pair

with Pair():
    print("ready", flush=True)
    sys.stdin.read()
