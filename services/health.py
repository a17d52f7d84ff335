"""`python -m services health`: asks the process beside this one, in the same container, whether it is ready."""

from __future__ import annotations

import argparse
import http.client
import os
import sys

DEFAULT_ADDRESS = "127.0.0.1:9001"
TIMEOUT_SECONDS = 4.0


def run(arguments: list[str]) -> int:
    """0 when /readyz at OOFGG_OPS_ADDRESS says so, else 1 with the reason. Loads the standard library alone."""
    argparse.ArgumentParser(prog="python -m services health", description=__doc__).parse_args(arguments)
    address = os.environ.get("OOFGG_OPS_ADDRESS", DEFAULT_ADDRESS).replace("0.0.0.0", "127.0.0.1", 1)  # noqa: S104
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        document = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"{address} does not answer: {error!r}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    print(document)
    return 0 if response.status == 200 else 1
