"""A certificate and its key, from files, as the TLS side of a server."""

import ssl

from common.errors import SettingsError


def load(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 and newer with these PEM files; an empty `key`: it is in the certificate's. Raises SettingsError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Where the key is encrypted, a password that fits nothing: OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key or None, password="")
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM, or an encrypted key").replace("_", " ").lower()
        raise SettingsError(f"{certificate} and {key or 'the key in it'}: {reason} - at `$.tls`") from None
    except OSError as error:
        files = " or ".join(filter(None, (certificate, key)))
        raise SettingsError(f"{files}: {error.strerror} - at `$.tls`") from None
    return context
