"""The steps of the Dockerfile, carried out below a scratch directory instead of in an engine.

What stands for the base image is a Python of this machine. The paths of the image are moved below the directory.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

PIP_SECONDS = 300
_IMAGE_PATH = re.compile(r"(?<![\w.-])/(?=(?:opt|app|srv)(?:/|\b))")


@dataclass(frozen=True)
class Image:
    """A stage: its files below `root`, and its configuration as the Dockerfile states it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    built: float = 0.0
    """When its last file was made, in seconds since 1970."""

    def moved(self, text: str) -> str:
        """Text with the paths of the image moved to where they are here."""
        return _IMAGE_PATH.sub(f"{self.root}/", text)

    @property
    def directory(self) -> Path:
        """Where a process of the image starts."""
        return self.root / self.workdir.lstrip("/")


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Names and values, continued lines joined."""
    text = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def context(directory: Path) -> Iterator[Path]:
    """The files that `.dockerignore` lets into the context, relative to the directory."""
    patterns = [
        line for line in (directory / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others"], cwd=directory, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (directory / name).is_file() and not ignored(PurePosixPath(name), patterns):
            yield Path(name)


def ignored(path: PurePosixPath, patterns: list[str]) -> bool:
    """Whether a path stays outside: the last pattern that matches it, or a directory above it, decides."""
    result = False
    for pattern in patterns:
        includes, wanted = pattern.startswith("!"), pattern.removeprefix("!")
        if any(_matches(candidate, wanted) for candidate in (path, *path.parents)):
            result = not includes
    return result


def _matches(path: PurePosixPath, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.name, pattern.removeprefix("**/"))
    wanted = PurePosixPath(pattern).parts
    return len(wanted) == len(path.parts) and all(map(fnmatch.fnmatchcase, path.parts, wanted))


def build(directory: Path, scratch: Path, python: Path) -> Image:
    """Carries out the Dockerfile of `directory`; returns the last stage. Raises CalledProcessError."""
    stages: dict[str, Image] = {}
    base = scratch / "base"
    base.mkdir(parents=True)
    (base / "python").symlink_to(python)
    image = Image(scratch)
    for name, value in instructions(directory / "Dockerfile"):
        match name:
            case "FROM":
                _, _, alias = value.partition(" AS ")
                alias = alias or "final"
                image = Image(scratch / alias, {"PATH": f"{base}:{os.environ['PATH']}"})
                image.root.mkdir()
            case "WORKDIR":
                image = replace(image, workdir=value)
                image.directory.mkdir(parents=True, exist_ok=True)
            case "ENV":
                for assignment in value.split():
                    key, _, assigned = assignment.partition("=")
                    assigned = image.moved(assigned).replace("$PATH", image.environment["PATH"])
                    image = replace(image, environment={**image.environment, key: assigned})
            case "RUN":
                _run(image, value)
            case "COPY":
                _copy(image, value, directory, stages)
            case "USER":
                image = replace(image, user=value)
            case "ENTRYPOINT":
                image = replace(image, entrypoint=tuple(json.loads(value)))
            case "HEALTHCHECK":
                image = replace(image, healthcheck=tuple(json.loads(value.partition(" CMD ")[2])))
            case "EXPOSE":
                pass
            case _:
                raise ValueError(f"{name} is not understood here")
        stages[image.root.name] = image
    for stage in stages.values():
        if stage.root != image.root:
            shutil.rmtree(stage.root)
    return replace(image, built=max(path.lstat().st_ctime for path in image.root.rglob("*")))


def _run(image: Image, command: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "HOME", "LANG", "SSL_", "http"))}
    # The option keeps the image small. Here, what `make setup` has fetched need not be fetched once more.
    cached = command.replace(" --no-cache-dir", "")
    subprocess.run(
        ["/bin/sh", "-c", image.moved(cached)],
        cwd=image.directory,
        env={**kept, **image.environment},
        check=True,
        timeout=PIP_SECONDS,
        stdin=subprocess.DEVNULL,
    )


def _copy(image: Image, value: str, directory: Path, stages: dict[str, Image]) -> None:
    words = value.split()
    origin = stages[words.pop(0).removeprefix("--from=")] if words[0].startswith("--from=") else None
    source, target = words
    destination = image.root / target.lstrip("/") if target.startswith("/") else image.directory / target
    if origin is not None:
        shutil.copytree(origin.root / source.lstrip("/"), destination, symlinks=True, dirs_exist_ok=True)
        return
    chosen = [path for path in context(directory) if path == Path(source) or Path(source) in path.parents]
    if not chosen:
        raise FileNotFoundError(f"{source} is not in the context")
    for path in chosen:
        copied = destination / path.relative_to(source) if path != Path(source) else destination
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(directory / path, copied)
