"""Asking a server whether it answers, and who it is, with nothing but sockets."""

from __future__ import annotations

import http.client
import re
import socket
import struct
from pathlib import Path

TIMEOUT = 1.0


def valkey_process_id(path: Path) -> int | None:
    """The pid of the Valkey that answers on a Unix socket and has its data loaded; None while there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(str(path))
            connection.sendall(b"*3\r\n$4\r\nINFO\r\n$6\r\nserver\r\n$11\r\npersistence\r\n")
            reader = connection.makefile("rb")
            header = reader.readline()
            if not header.startswith(b"$"):
                return None
            text = reader.read(int(header[1:])).decode()
        except OSError:
            return None
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(facts["process_id"]) if facts.get("loading") == "0" else None


def kafka_answers(host: str, port: int) -> bool:
    """Whether a broker answers ApiVersions."""
    client = b"oofgg"
    body = struct.pack(">hhih", 18, 0, 1, len(client)) + client
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            reply = connection.recv(8)
    except OSError:
        return False
    return len(reply) == 8 and struct.unpack(">i", reply[4:])[0] == 1


def http_get(host: str, port: int, path: str) -> tuple[int, bytes] | None:
    """Status and body of a plain HTTP GET; None when nobody answers."""
    answer = _request(host, port, "GET", path, b"", {})
    return None if answer is None else answer[:2]


def grpc_web_status(host: str, port: int, path: str) -> int | None:
    """The gRPC status of a call with an empty message, made as grpc-web because that needs no HTTP/2.

    None when nobody answers within a second, or not as gRPC.
    """
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    answer = _request(host, port, "POST", path, b"\0\0\0\0\0", headers)
    if answer is None or answer[0] != 200:
        return None
    match = re.search(rb"^grpc-status: ?(\d+)", answer[2] + answer[1][answer[1].rfind(b"\x80") + 5 :], re.MULTILINE)
    return int(match[1]) if match else None


def _request(
    host: str, port: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, bytes, bytes] | None:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request(method, path, body or None, headers)
        reply = connection.getresponse()
        content = reply.read()
        return reply.status, content, "".join(f"{key.lower()}: {value}\n" for key, value in reply.getheaders()).encode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
