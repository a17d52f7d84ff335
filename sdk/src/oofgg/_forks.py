"""Imports gRPC without its handlers of forks. Has to be imported before anything that imports `grpc`.

gRPC reads once, when it is imported, whether to handle forks. Its handlers start threads in a forked process, which go
on with the connections of the other one, and crash it now and then. Who has decided this in the environment, or has
imported `grpc` before, is left alone.
"""

from __future__ import annotations

import os
from typing import Final

_VARIABLE: Final = "GRPC_ENABLE_FORK_SUPPORT"

if _VARIABLE in os.environ:
    import grpc
else:
    os.environ[_VARIABLE] = "0"
    try:
        import grpc  # noqa: F401
    finally:
        del os.environ[_VARIABLE]
