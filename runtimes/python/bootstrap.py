"""The Python runtime. `bootstrap.py <port of the relay> <port of the API> <Node>` speaks runtimes/PROTOCOL.md on descriptors 3
and 4, and so does one that goes on for another. Without that it is a client of Lambda's Runtime API. What runs is in modules,
which are kept compiled."""
import os
import sys

if len(sys.argv) > 1 or "_MAYFLY_HANDED_OVER" in os.environ:
    from _mayfly.guest import run
else:
    from _mayfly.runtime_api import run
run()
