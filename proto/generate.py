"""Generates everything that follows from the .proto files: `make proto`, or `make proto-check` to find drift.

Two virtual environments take part, because the generator needs an older protobuf than the platform runs on
(docs/decisions/0002-generated-code.md). Written:

* `sdk/src/oofgg/{v1,events/v1}` and `pkg/internal/v1`: Python, with types;
* `sdk/src/oofgg/v1/api.binpb`: the public services as a descriptor set, for Envoy's JSON routes and for reflection;
* `sdk/src/oofgg/events/v1/events.binpb`: what is on Kafka as a descriptor set with comments, for the reference;
* `build/proto/full.binpb`: everything with comments, for buf (not committed);
* with `--baseline`, `proto/baseline.binpb`: the protos as released, which later ones must not break; with
  `--baseline oofgg/events/v1/`, of these alone, which are released as soon as records of them are on a topic.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from proto.defaults import add_default_rules

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
CODEGEN = ROOT / ".venv-codegen" / "bin"
# Files whose options travel as bytes: the generated code must import nothing that the SDK does not depend on.
FOREIGN = ("google/api/", "buf/")
# Where the generated files of a proto folder go, relative to the checkout.
TARGETS = {"oofgg/v1": "sdk/src", "oofgg/events/v1": "sdk/src", "pkg/internal/v1": "."}
API = "sdk/src/oofgg/v1/api.binpb"
EVENTS = "sdk/src/oofgg/events/v1/events.binpb"


def main(arguments: list[str]) -> int:
    build = ROOT / "build" / "proto"
    build.mkdir(parents=True, exist_ok=True)
    if "--baseline" in arguments:
        released = FileDescriptorSet.FromString((build / "full.binpb").read_bytes())
        for file in released.file:
            file.ClearField("source_code_info")
        if folder := "".join(arguments[arguments.index("--baseline") + 1 :]):
            now = {file.name: file for file in released.file if file.name.startswith(folder)}
            released = FileDescriptorSet.FromString((PROTO / "baseline.binpb").read_bytes())
            kept = [file for file in released.file if file.name not in now]
            del released.file[:]
            released.file.extend([*kept, *now.values()])
        (PROTO / "baseline.binpb").write_bytes(released.SerializeToString(deterministic=True))
        return 0
    if "--check" not in arguments:
        for target in TARGETS:
            for stale in (ROOT / TARGETS[target] / target).glob("*_pb2*"):
                stale.unlink()
        generate(ROOT, build)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch), build)
        drift = sorted(differences(Path(scratch), ROOT))
    for name in drift:
        print(f"generated code differs from the protos: {name}", file=sys.stderr)
    if drift:
        print("run `make proto` and commit the result", file=sys.stderr)
    return 1 if drift else 0


def generate(out: Path, build: Path) -> None:
    """Writes all generated files below `out`, and the working files below `build`."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    full = describe(sources, build)
    add_default_rules(full)
    (build / "full.binpb").write_bytes(full.SerializeToString(deterministic=True))
    for committed, folder in ((API, "oofgg/v1/"), (EVENTS, "oofgg/events/v1/")):
        described = out / committed
        described.parent.mkdir(parents=True, exist_ok=True)
        public = [name for name in sources if name.startswith(folder)]
        described.write_bytes(closure(full, public).SerializeToString(deterministic=True))

    stripped = build / "stripped.binpb"
    stripped.write_bytes(without_foreign(full).SerializeToString(deterministic=True))
    with tempfile.TemporaryDirectory() as scratch:
        protoc(
            f"--descriptor_set_in={stripped}",
            f"--plugin=protoc-gen-mypy={CODEGEN / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={CODEGEN / 'protoc-gen-mypy_grpc'}",
            *(f"--{plugin}_out={scratch}" for plugin in ("python", "grpc_python", "mypy", "mypy_grpc")),
            *sources,
        )
        for folder, root in TARGETS.items():
            target = out / root / folder
            target.mkdir(parents=True, exist_ok=True)
            services = {Path(f.name).stem for f in full.file if f.service and f.name.startswith(f"{folder}/")}
            for path in sorted((Path(scratch) / folder).glob("*_pb2*")):
                stem = path.name.partition("_pb2")[0]
                if "_pb2_grpc" not in path.name or stem in services:
                    shutil.move(path, target / path.name)


def describe(sources: list[str], build: Path) -> FileDescriptorSet:
    """Compiles all sources with their imports and comments."""
    from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2
    from protovalidate._gen.buf.validate import validate_pb

    imports = FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, timestamp_pb2, field_mask_pb2, any_pb2, struct_pb2):
        imports.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    imports.file.add().ParseFromString(validate_pb._DESC.proto.to_binary())
    validate = build / "validate.binpb"
    validate.write_bytes(imports.SerializeToString())
    full = build / "full.binpb"
    site = subprocess.check_output(
        [CODEGEN / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    protoc(
        f"-I{PROTO}", f"-I{site}", f"--descriptor_set_in={validate}",
        "--include_imports", "--include_source_info", f"--descriptor_set_out={full}", *sources,
    )  # fmt: skip
    return FileDescriptorSet.FromString(full.read_bytes())


def closure(full: FileDescriptorSet, roots: list[str]) -> FileDescriptorSet:
    """The files of `roots` and what they import, imports first."""
    by_name = {file.name: file for file in full.file}
    wanted: set[str] = set()
    stack = list(roots)
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(by_name[name].dependency)
    return FileDescriptorSet(file=[file for file in full.file if file.name in wanted])


def without_foreign(full: FileDescriptorSet) -> FileDescriptorSet:
    """The set without foreign files and without imports of them; their options stay as bytes."""
    kept = FileDescriptorSet(file=[file for file in full.file if not file.name.startswith(FOREIGN)])
    for file in kept.file:
        dependencies = [name for name in file.dependency if not name.startswith(FOREIGN)]
        del file.dependency[:]
        file.dependency.extend(dependencies)
    return kept


def protoc(*arguments: str) -> None:
    command = [str(CODEGEN / "python"), "-m", "grpc_tools.protoc", *arguments]
    done = subprocess.run(command, cwd=PROTO, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)


def differences(fresh: Path, committed: Path) -> set[str]:
    """Paths of generated files that differ, are missing or should not be there."""
    expected = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    present = {
        path.relative_to(committed)
        for folder, root in TARGETS.items()
        for path in (committed / root / folder).glob("*_pb2*")
    } | {Path(API), Path(EVENTS)}
    changed = {
        path
        for path in expected & present
        if not (committed / path).is_file() or not filecmp.cmp(fresh / path, committed / path, shallow=False)
    }
    return {str(path) for path in (expected ^ present) | changed}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
