"""Certificates of a private authority, made by the openssl command, and the servers' settings for them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote

REDIS: Final = shutil.which("redis-server")
"""Debian's; the embedded server was built without TLS."""

_SIGNS: Final = "keyUsage=critical,keyCertSign,cRLSign"
_SERVES: Final = """\
subjectAltName=DNS:localhost,IP:127.0.0.1
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid,issuer
"""
"""From Python 3.13 on, certificates are held to RFC 5280: an authority must say that it may sign, and so on."""

_CURVE: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def why_not() -> str:
    """The part that this machine lacks for servers with TLS; empty for none."""
    if REDIS is None:
        return "redis-server is not installed"
    if shutil.which("openssl") is None:
        return "the openssl command is not installed"
    # It stops at the first line that it does not know, so it starts in no case.
    process = subprocess.run([REDIS, "-"], input=b"tls-port 0\nno-such-line\n", capture_output=True, check=False)
    return "redis-server was built without TLS" if b"tls-port" in process.stdout + process.stderr else ""


class Authority:
    """An authority in a folder of its own. `certificate`: its PEM file; `server`, `key`: of servers on loopback."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.certificate, self._key = folder / "authority.pem", folder / "authority.key"
        self.server, self.key = folder / "server.pem", folder / "server.key"
        request, extensions = folder / "server.csr", folder / "extensions"
        extensions.write_text(_SERVES)
        _openssl(
            "req", "-x509", *_CURVE, "-keyout", self._key, "-out", self.certificate, "-subj", "/CN=an authority",
            "-addext", _SIGNS,
        )  # fmt: skip
        _openssl("req", *_CURVE, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-extfile", extensions, "-out", self.server,
        )  # fmt: skip

    def options(self, port: int) -> tuple[str, ...]:
        """Of a server that speaks TLS on `port` and nothing else; without dashes they are lines of a file."""
        return (
            "--port", "0", "--tls-port", str(port), "--tls-replication", "yes", "--tls-auth-clients", "no",
            "--tls-cert-file", str(self.server), "--tls-key-file", str(self.key),
            "--tls-ca-cert-file", str(self.certificate),
        )  # fmt: skip

    @property
    def query(self) -> str:
        """The end of a URL whose servers have certificates of this authority."""
        return f"?ssl_ca_certs={quote(str(self.certificate))}"


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
