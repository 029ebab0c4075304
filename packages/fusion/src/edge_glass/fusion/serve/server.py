"""The process of the server: its token, its address, and how it ends."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from edge_glass.fusion.serve.access import is_loopback

TOKEN_VARIABLE = "EDGE_GLASS_TOKEN"
MIN_TOKEN = 16
MAX_CONNECTIONS = 512  # more are answered with 503, so that open files do not run out


def find_token(file: Path | None, host: str) -> str | None:
    """Returns the token of a file, or of the environment; None if there is none.

    Raises:
        OSError: if the file can't be read.
        ValueError: if the token is weak, or missing and the address is not loopback.
    """
    source = TOKEN_VARIABLE if file is None else str(file)
    if file is not None:
        token = file.read_text(encoding="utf-8", errors="replace").strip()
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token and file is None and is_loopback(host):
        return None
    if not token and file is None:
        raise ValueError(
            f"--host {host} is reached from other machines and needs a token: set "
            f"{TOKEN_VARIABLE} or --token-file, or use --host 127.0.0.1"
        )
    if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError(
            f"{source} holds a token of {len(token)} characters, expected at least {MIN_TOKEN} "
            "letters and digits, such as `openssl rand -hex 24` prints"
        )
    return token


def bound_socket(host: str, port: int) -> socket.socket:
    """Takes an address before the models are loaded; nobody can connect yet.

    Raises:
        OSError: if the address does not exist on this machine, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OSError(f"--host {host}: {error.strerror}; give an address of this machine") from None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise OSError(
            f"--host {host} --port {port}: {error.strerror}; choose a different one"
        ) from None
    return bound


def run_server(app: FastAPI, bound: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM; requests that are running are finished first."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
    )
    try:
        uvicorn.Server(config).run([bound])
    except KeyboardInterrupt:  # uvicorn passes the signal on after the last request
        return
