"""A supervisor in a process of its own: `supervise.py DATA_DIR [pipe] [whole]`. Imports only what it needs itself."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from pkg.embedded import EmbeddedError, EnvoyInputs, Options, Platform, ServicesInputs

HERE = Path(__file__).parent


def render(inputs: EnvoyInputs) -> str:
    """An Envoy that answers everything by itself."""
    return f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {inputs.admin_port}}}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: {inputs.host}, port_value: {inputs.port}}}}}
    filter_chains: &answer
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: door
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, direct_response: {{status: 200, body: {{inline_string: "here"}}}}}}]
  - address: {{socket_address: {{address: {inputs.host}, port_value: {inputs.tls_port}}}}}
    filter_chains: *answer
"""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    services = ServicesInputs(root=HERE, argv=(sys.executable, str(HERE / "stub_services.py")))
    whole = "whole" in sys.argv
    options = Options(
        Path(sys.argv[1]),
        services=services if whole else None,
        render_envoy=render if whole else None,
        lifeline_pipe="pipe" in sys.argv,
        report=lambda line: print(line, flush=True),
    )
    platform = Platform(options)
    try:
        platform.start()
        print("UP", flush=True)
        platform.wait()
    except KeyboardInterrupt:
        platform.stop()
    except EmbeddedError as error:
        print(f"REFUSED {error}", flush=True)
        platform.stop()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
