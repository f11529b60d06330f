"""An identity provider: signs JWTs, and serves its key set on loopback."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER: Final = "https://id.example.com/"
AUDIENCE: Final = "presswork"
RSA: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK: Final = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be refused
EC: Final = ec.generate_private_key(ec.SECP256R1())
ED: Final = ed25519.Ed25519PrivateKey.generate()
PEM: Final = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims of organisation alice with all rights of a front end; None takes one away."""
    good = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": int(time.time()) + 300, "iat": int(time.time()),
        "org_id": "alice", "scope": "openid jobs:write jobs:read events:read",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(
    content: dict[str, Any] | None = None,
    *,
    key: Any = RSA,
    algorithm: str = "RS256",
    kid: str | None = "rsa",
    **header: Any,
) -> str:
    """A signed token. `header`: more of its header."""
    headers = {"typ": "at+jwt", **({} if kid is None else {"kid": kid}), **header}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that are too weak
        return jwt.encode(content or claims(), key, algorithm=algorithm, headers=headers)


def described(kid: str, key: Any, **more: Any) -> dict[str, Any]:
    """A public key as a key set holds it."""
    kind: Any = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((made for base, made in kind.items() if isinstance(key, base)), OKPAlgorithm)
    held: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return held | {"kid": kid} | more


class Provider:
    """`keys`: what it serves; None: it answers 500. `asked` counts."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] | None = [
            described("rsa", RSA), described("ec", EC), described("ed", ED), described("weak", WEAK),
            described("enc", OTHER, use="enc"), described("only-ps", OTHER, alg="PS256"),
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}, {"kid": 5},
        ]  # fmt: skip
        self.asked = 0
        self.url = ""
        self.slow = threading.Event()
        self.slow.set()


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider, for the length of the block."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked += 1
            provider.slow.wait(10)
            body = json.dumps({"keys": provider.keys}).encode()
            self.send_response(500 if provider.keys is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name for it
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        provider.url = f"http://127.0.0.1:{server.server_port}/jwks"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield provider
        provider.slow.set()
        server.shutdown()
        thread.join()
