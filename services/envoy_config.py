"""`python -m services.envoy_config`: reads the embedded platform's EnvoyInputs as JSON, prints Envoy's configuration.

A process of its own, because the generator loads protobuf and templates, which the supervisor does not need otherwise.
"""

from __future__ import annotations

import json
import sys

from envoy.render import Address, Environment, Inputs, render


def main() -> int:
    """Prints the configuration; the exit code is 0."""
    told = json.load(sys.stdin)
    inputs = Inputs(
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


if __name__ == "__main__":
    sys.exit(main())
