"""The machine and the libraries, in words."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

_LIBRARIES = ("grpcio", "uvloop", "protobuf", "asyncpg", "redis")


def machine() -> str:
    """`2 cores (AMD EPYC), 24 GiB, Linux 6.1`."""
    memory = psutil.virtual_memory().total / 2**30
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {kernel}"


def libraries() -> dict[str, str]:
    """Versions of what the cost depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
