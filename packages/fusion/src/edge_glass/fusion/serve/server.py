"""The process of the server: its address, its token, and how it ends."""

from __future__ import annotations

from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI


def is_loopback(host: str) -> bool:
    """Returns whether an address is reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run_server(app: FastAPI, host: str, port: int) -> None:
    """Serves until Ctrl-C or SIGTERM; requests that are running are finished first."""
    config = uvicorn.Config(
        app, host=host, port=port, http="h11", ws="none", log_level="warning", server_header=False
    )
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:  # uvicorn passes the signal on after the last request
        return
