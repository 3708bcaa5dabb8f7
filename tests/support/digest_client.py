"""The client's side of Digest and Basic, written from RFC 7616 and 7617, sharing nothing with the server's."""

import base64
import hashlib
import re

CNONCE = "0a4f113b"


def challenges(headers: list[tuple[str, str]]) -> list[dict[str, str]]:
    """The parameters of each WWW-Authenticate header, in order; the scheme is "scheme"."""
    found = []
    for name, value in headers:
        if name.lower() == "www-authenticate":
            scheme, _, rest = value.partition(" ")
            pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', rest)
            found.append({"scheme": scheme, **{key: quoted or token for key, quoted, token in pairs}})
    return found


def digest_answer(
    challenge: dict[str, str], method: str, uri: str, user: str, password: str,
    *, count: int | None = 1, **others: str,
) -> str:  # fmt: skip
    """An Authorization header. count: None for a client that knows no qop. others: fields to add or change."""
    algorithm = challenge.get("algorithm", "MD5")

    def hashed(text: str) -> str:
        return (hashlib.md5 if algorithm == "MD5" else hashlib.sha256)(text.encode()).hexdigest()

    secret = hashed(f"{user}:{challenge['realm']}:{password}")
    middle = challenge["nonce"] if count is None else f"{challenge['nonce']}:{count:08x}:{CNONCE}:auth"
    fields = {
        "username": user, "realm": challenge["realm"], "nonce": challenge["nonce"], "uri": uri,
        "response": hashed(f"{secret}:{middle}:{hashed(f'{method}:{uri}')}"),
    }  # fmt: skip
    text = ", ".join(f'{name}="{value}"' for name, value in {**fields, **others}.items())
    if count is not None:
        text += f', qop=auth, nc={count:08x}, cnonce="{CNONCE}"'
    return f"Digest {text}, algorithm={algorithm}" if "algorithm" in challenge else f"Digest {text}"


def basic_answer(user: str, password: str) -> str:
    """An Authorization header."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
