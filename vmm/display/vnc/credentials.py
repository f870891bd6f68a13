# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS contexts from a directory with QEMU's file names (its ``tls-creds-x509`` object)."""

import ssl
from pathlib import Path

from vmm.display.rfb.numbers import VeNCrypt
from vmm.display.vnc.options import ANONYMOUS, VncOptions
from vmm.errors import VmmError

CERTIFICATE, KEY, AUTHORITIES = "server-cert.pem", "server-key.pem", "ca-cert.pem"


def tls_context(options: VncOptions) -> ssl.SSLContext | None:
    """What the display's TLS connections use, or None without ``tls-creds``.

    Raises:
        VmmError: a file is missing or is not what it should be.
    """
    if options.tls_creds is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Nobody resumes a VNC session, and a TigerVNC viewer (1.12) that finds tickets before the first
    # message waits for ever.
    context.num_tickets = 0
    if options.tls_creds == ANONYMOUS:
        # Anonymous suites left with TLS 1.3, and OpenSSL has them at its lowest level only.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH:@SECLEVEL=0")
        return context
    _load(context, Path(options.tls_creds), options.verify_peer)
    return context


def _load(context: ssl.SSLContext, folder: Path, verify_peer: bool) -> None:
    try:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password=_no_password)
    except (OSError, ValueError) as error:
        raise VmmError(
            f"VNC: tls-creds={folder}: {CERTIFICATE} and {KEY}: {_words(error)}"
        ) from None
    if not verify_peer:
        return
    try:
        context.load_verify_locations(folder / AUTHORITIES)
    except OSError as error:
        raise VmmError(
            f"VNC: tls-creds={folder}: {AUTHORITIES}: {_words(error)} (clients must show a"
            " certificate of it, unless verify-peer=off)"
        ) from None
    context.verify_mode = ssl.CERT_REQUIRED


def _no_password() -> str:
    raise ValueError("the key has a password; a server starts without anybody to ask")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not a certificate or key ({error.reason or 'PEM'})"
    return str(getattr(error, "strerror", None) or error)


def subtypes(options: VncOptions) -> tuple[VeNCrypt, ...]:
    """VeNCrypt's subtypes that these options offer: one."""
    if options.tls_creds == ANONYMOUS:
        return (VeNCrypt.TLS_VNC if options.password else VeNCrypt.TLS_NONE,)
    return (VeNCrypt.X509_VNC if options.password else VeNCrypt.X509_NONE,)
