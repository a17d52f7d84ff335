"""`python -m envoy render …` prints a configuration, `python -m envoy table` the reference of all RPCs."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from envoy.certificates import LOOPBACK, Certificate, development_certificate
from envoy.reference import table
from envoy.render import Address, Environment, Inputs, Tls, Traces, render, tls_secret
from envoy.routes import CLUSTERS, public_routes, read_descriptors


def main(arguments: list[str]) -> int:
    """Runs a command; returns its exit code."""
    told = _parser().parse_args(arguments)
    if told.command == "table":
        sys.stdout.write(table(public_routes(read_descriptors(told.descriptors))))
        return 0
    try:
        files = _render(told)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if told.output is None:
        sys.stdout.write(files[None])
        return 0
    for path, content in files.items():
        _replace(path or told.output, content)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m envoy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    rendering = commands.add_parser("render", help="print Envoy's configuration")
    rendering.add_argument("--environment", choices=[kind.value for kind in Environment], default="production")
    rendering.add_argument("--listen", type=Address.parse, default=Address("0.0.0.0", 8080), metavar="HOST:PORT")  # noqa: S104
    rendering.add_argument("--tls-listen", type=Address.parse, metavar="HOST:PORT", help="listen with TLS as well")
    rendering.add_argument("--tls-certificate", type=Path, metavar="FILE", help="chain in PEM form, leaf first")
    rendering.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key in PEM form")
    rendering.add_argument("--tls-development", type=Path, metavar="DIRECTORY",
                           help="where one for this machine alone is made while there is no other")  # fmt: skip
    rendering.add_argument("--otlp-endpoint", default="", metavar="http://HOST:PORT", help="send traces there")
    rendering.add_argument("--trace-ratio", type=float, default=1.0, help="share of the calls that are traced")
    rendering.add_argument("--admin-port", type=int, default=9901, help="on 127.0.0.1")
    rendering.add_argument("--jwks", type=Address.parse, required=True, metavar="HOST:PORT", help="auth's ops address")
    rendering.add_argument("--edge", type=Address.parse, metavar="HOST:PORT", help="edge's xDS address")
    for name in sorted(set(CLUSTERS.values())):
        rendering.add_argument(f"--{name}", type=Address.parse, metavar="HOST:PORT", help="without edge")
    rendering.add_argument(
        "--cors-origin",
        action="extend",
        type=lambda origins: origins.replace(",", " ").split(),
        default=[],
        metavar="ORIGIN",
        help="may be repeated, or hold several",
    )
    rendering.add_argument("--trusted-proxies", type=int, default=0)
    rendering.add_argument("--no-access-log", action="store_true")
    rendering.add_argument("--lift-limits-on-loopback", action="store_true", help="for load tests")
    rendering.add_argument("--output", type=Path, metavar="FILE", help="replaced in one step (default: print it)")
    listing = commands.add_parser("table", help="print the reference of all RPCs as Markdown")
    for command in (rendering, listing):
        command.add_argument("--descriptors", metavar="FILE", help="api.binpb (default: the one inside oofgg)")
    return parser


def _render(told: argparse.Namespace) -> dict[Path | None, str]:
    """Contents by file; None stands for the configuration itself. Raises ValueError."""
    if told.tls_listen is None:
        return {None: render(_inputs(told, None))}
    if told.output is None:
        raise ValueError("--tls-listen needs --output, for Envoy finds its certificate through a file beside it")
    certificate = _certificate(told)
    secret_file = told.output.absolute().with_name("tls.json")
    return {secret_file: tls_secret(certificate), None: render(_inputs(told, Tls(told.tls_listen, secret_file)))}


def _certificate(told: argparse.Namespace) -> Certificate:
    now = datetime.now(UTC)
    if (told.tls_certificate is None) is not (told.tls_key is None):
        raise ValueError("--tls-certificate and --tls-key go together")
    if told.tls_certificate is not None and (told.tls_certificate.exists() or told.tls_development is None):
        certificate = Certificate(told.tls_certificate, told.tls_key)
        certificate.check(now)
        return certificate
    if told.tls_development is None:
        raise ValueError("--tls-listen needs --tls-certificate and --tls-key, or --tls-development")
    return development_certificate(told.tls_development, LOOPBACK, now)


def _replace(path: Path, content: str) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.chmod(0o644)
    unfinished.replace(path)


def _inputs(told: argparse.Namespace, tls: Tls | None) -> Inputs:
    return Inputs(
        tls=tls,
        traces=Traces.parse(told.otlp_endpoint, told.trace_ratio),
        environment=Environment(told.environment),
        listener=told.listen,
        admin_port=told.admin_port,
        jwks=told.jwks,
        edge=told.edge,
        clusters={name: given for name in set(CLUSTERS.values()) if (given := getattr(told, name)) is not None},
        cors_origins=tuple(told.cors_origin),
        trusted_proxies=told.trusted_proxies,
        access_log=not told.no_access_log,
        lift_limits_on_loopback=told.lift_limits_on_loopback,
        descriptors=told.descriptors,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
