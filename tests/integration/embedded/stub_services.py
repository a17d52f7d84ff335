"""Stands in for the services: is ready at once, and tells the names of its variables at /environment."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        told = {key: value for key, value in os.environ.items() if key.startswith("OOFGG_")}
        body = json.dumps(told if self.path == "/environment" else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host, _, port = os.environ["OOFGG_OPS_ADDRESS"].rpartition(":")
HTTPServer((host, int(port)), Handler).serve_forever()
