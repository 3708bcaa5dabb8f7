"""Certificates for 127.0.0.1, each of an authority of its own."""

import socket
import ssl
from pathlib import Path

import trustme


def issue(file: Path) -> ssl.SSLContext:
    """Write a new certificate and its key into one file; returns a client that trusts nothing else."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return client


def free_port() -> int:
    """A port that nobody has: where 0 means none."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
