"""`python -m services.envoy_config`: reads the embedded platform's EnvoyInputs as JSON, prints Envoy's configuration.

What Envoy needs beside it, its certificate, is written into the directories it is told.

A process of its own, because the generator loads protobuf and templates, which the supervisor does not need otherwise.
"""

from __future__ import annotations

import json
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envoy.certificates import LOOPBACK, Certificate, CertificateError, development_certificate
from envoy.render import Address, Environment, Inputs, Tls, Traces, render, tls_secret
from pkg.embedded.state import write_private


def main() -> int:
    """Prints the configuration. The exit code is 1 when the certificate cannot be used."""
    told = json.load(sys.stdin)
    try:
        certificate = _certificate(told)
    except CertificateError as error:
        print(error, file=sys.stderr)
        return 1
    secret_file = Path(told["directory"]) / "tls.json"
    write_private(secret_file, tls_secret(certificate))
    inputs = Inputs(
        traces=Traces.parse(told["otlp_endpoint"], float(told["trace_ratio"])),
        tls=Tls(Address(told["host"], told["tls_port"]), secret_file),
        environment=Environment(told["environment"]),
        listener=Address(told["host"], told["port"]),
        admin_port=told["admin_port"],
        jwks=Address.parse(told["services_ops"]),
        edge=Address.parse(told["services_xds"]),
        access_log=told["access_log"],
        cors_origins=tuple(told["cors_origins"]),
        lift_limits_on_loopback=told["lift_limits"],
    )
    sys.stdout.write(render(inputs))
    return 0


def _certificate(told: dict[str, Any]) -> Certificate:
    """The one that was named, or one for this machine. Raises CertificateError."""
    now = datetime.now(UTC)
    if told["tls_certificate"]:
        certificate = Certificate(Path(told["tls_certificate"]), Path(told["tls_key"]))
        certificate.check(now)
        return certificate
    return development_certificate(Path(told["tls_directory"]), [*LOOPBACK, socket.gethostname()], now)


if __name__ == "__main__":
    sys.exit(main())
