"""`python -m services up`: starts the embedded platform and keeps it running until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from pkg.embedded import EmbeddedError, Endpoints, EnvoyInputs, Options, Platform, ServicesInputs, StartFailed
from pkg.embedded.probes import grpc_web_status

ROOT = Path(__file__).parents[1]
DATA_DIR = ROOT / ".oofgg"
PROBE = "/oofgg.v1.AuthService/ValidateToken"
# OK, INVALID_ARGUMENT, UNAUTHENTICATED: the service behind Envoy has answered.
ANSWERED = (0, 3, 16)
RENDER_TIMEOUT = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Pages that a developer serves on this machine. Any other page would let a website talk to the platform from here.
LOCAL_ORIGINS = tuple(
    f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "[::1]")
)


@dataclass(frozen=True)
class Choices:
    """What the person at the terminal, or a test, wants to be different."""

    data_dir: Path = DATA_DIR
    host: str = "127.0.0.1"
    port: int | None = None
    tls_port: int | None = None
    tls_certificate: Path | None = None
    """PEM, leaf first, with `tls_key`; None makes one for this machine in the data directory."""
    tls_key: Path | None = None
    access_log: bool = False
    lift_limits: bool = False
    cors_origins: tuple[str, ...] = ()
    """Further origins whose pages may call, such as `https://play.example.com`."""
    report: Callable[[str], None] = lambda _line: None


def options(choices: Choices) -> Options:
    """The whole platform: backends, all services, Envoy with its generated configuration."""
    environment = dict(os.environ)
    kind = environment.get("OOFGG_ENVIRONMENT", "development")

    def render(inputs: EnvoyInputs) -> str:
        told = {
            **asdict(inputs),
            "environment": kind,
            "otlp_endpoint": environment.get("OOFGG_OTLP_ENDPOINT", ""),
            "trace_ratio": environment.get("OOFGG_TRACE_RATIO", "1"),
            "tls_certificate": _absolute(choices.tls_certificate),
            "tls_key": _absolute(choices.tls_key),
            "tls_directory": str(tls_directory(choices.data_dir)),
            "access_log": choices.access_log,
            "cors_origins": [*(LOCAL_ORIGINS if kind == "development" else ()), *choices.cors_origins],
            "lift_limits": choices.lift_limits,
        }
        done = subprocess.run(
            [sys.executable, "-m", "services.envoy_config"],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=RENDER_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise StartFailed(f"Envoy's configuration could not be made:\n{done.stderr.strip()}")
        return done.stdout

    return Options(
        data_dir=choices.data_dir,
        services=ServicesInputs(
            root=ROOT, environment={"OOFGG_LOGIN_LIMITS_SPARE_LOOPBACK": "true"} if choices.lift_limits else {}
        ),
        render_envoy=render,
        envoy_probe=lambda host, port: grpc_web_status(host, port, PROBE) in ANSWERED,
        envoy_host=choices.host,
        envoy_port=choices.port,
        envoy_tls_port=choices.tls_port,
        environment=environment,
        report=choices.report,
    )


def tls_directory(data_dir: Path) -> Path:
    """Where the certificate for this machine is, and `ca.crt`, which clients can trust."""
    return data_dir.expanduser().resolve() / "tls"


def _absolute(path: Path | None) -> str:
    return str(path.expanduser().absolute()) if path is not None else ""


def describe(endpoints: Endpoints) -> str:
    """Where everything is, and lines to paste. Names no secret."""
    envoy, envoy_tls = _as_in_the_docs(endpoints.envoy), _as_in_the_docs(endpoints.envoy_tls)
    host, _, port = envoy.rpartition(":")
    account = '{"username": "ada", "email": "ada@example.com", "password": "correct horse battery"}'
    login = '{"username": "ada", "password": "correct horse battery"}'
    places = {
        "Envoy": f"{envoy}   gRPC, grpc-web and JSON",
        "with TLS": f"{envoy_tls}   trust {tls_directory(Path(endpoints.data_dir)) / 'ca.crt'}",
        "Envoy admin": f"http://{endpoints.envoy_admin}",
        "metrics": f"http://{endpoints.services_ops}/metrics   also /healthz, /readyz",
        "Kafka": endpoints.kafka_bootstrap,
        "data": endpoints.data_dir,
        "logs": f"{endpoints.data_dir}/logs",
    }
    lines = [f"  {name:<12} {place}" for name, place in places.items()]
    lines += [
        "",
        f"  evans --host {host} --port {port} -r repl",
        f"  grpcurl -plaintext {envoy} list",
        f"  curl -s -H 'content-type: application/json' -d '{account}' http://{envoy}/v1/auth/register",
        f"  grpcurl -plaintext -d '{login}' {envoy} oofgg.v1.AuthService/Login",
    ]
    return "\n".join(lines)


def _as_in_the_docs(address: str) -> str:
    """This machine's own address under the name that the docs use."""
    return address.replace("127.0.0.1:", "localhost:", 1)


class Asked(BaseException):
    """Somebody wants us to stop."""


def run(arguments: list[str]) -> int:
    """Runs the platform. 0 after being asked to stop, 1 when it cannot start or a part crashes too often."""
    parser = argparse.ArgumentParser(prog="python -m services up", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="where data is kept (default: .oofgg)")
    parser.add_argument("--host", default="127.0.0.1", help="address Envoy listens on; 0.0.0.0 opens it to the network")
    parser.add_argument("--port", type=port, help="port Envoy listens on (default: 8080, or a free one)")
    parser.add_argument("--tls-port", type=port, help="port Envoy listens on with TLS (default: 8443, or a free one)")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE",
                        help="your own, PEM, leaf first (default: one for this machine, made here)")  # fmt: skip
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument("--access-log", action="store_true", help="let Envoy log every call")
    parser.add_argument("--lift-limits", action="store_true", help="no rate limits for loopback: for load tests")
    parser.add_argument("--cors-origin", action="append", default=[], metavar="ORIGIN",
                        help="let pages of this origin call, besides those of localhost; may be repeated")  # fmt: skip
    told = parser.parse_args(arguments)
    if (told.tls_certificate is None) is not (told.tls_key is None):
        parser.error("--tls-certificate and --tls-key go together")
    _ask_on_signals()
    began = time.monotonic()
    choices = Choices(
        data_dir=told.data_dir,
        host=told.host,
        port=told.port,
        tls_port=told.tls_port,
        tls_certificate=told.tls_certificate,
        tls_key=told.tls_key,
        access_log=told.access_log,
        lift_limits=told.lift_limits,
        cors_origins=tuple(told.cors_origin),
        report=_say,
    )
    platform = Platform(options(choices))
    try:
        platform.start()
        _say(f"the platform is up after {time.monotonic() - began:.1f} s\n\n{describe(platform.endpoints)}\n")
        if platform.notice:
            _say(f"{platform.notice}\n")
        _say("Ctrl-C stops it.")
        platform.wait()
    except Asked:
        _say("stopping")
    except EmbeddedError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    finally:
        platform.stop()
    _say("stopped; the data is kept")
    return 0


def port(text: str) -> int:
    """A TCP port from the command line."""
    number = int(text)
    if not 0 < number < 1 << 16:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return number


def ignore_signals() -> None:
    """From now on nothing but SIGKILL interrupts: stopping is under way."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _ask_on_signals() -> None:
    def ask(_number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        raise Asked

    for number in STOP_SIGNALS:
        signal.signal(number, ask)


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # whoever read along has left; the platform goes on
        return
