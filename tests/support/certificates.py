# SPDX-License-Identifier: GPL-2.0-or-later
"""A certificate authority for one test: QEMU's file names, made with the cryptography package."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """Signs certificates and writes them as PEM files."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("test authority", self._key, authority=True)

    def _sign(
        self, common: str, key: ec.EllipticCurvePrivateKey, authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name("test authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def write(self, folder: Path, name: str) -> None:
        """``name``-cert.pem, ``name``-key.pem and ca-cert.pem into a folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        private = serialization.PrivateFormat.PKCS8
        text = key.private_bytes(pem, private, serialization.NoEncryption())
        (folder / f"{name}-key.pem").write_bytes(text)
        signed = self._sign(name, key, authority=False)
        (folder / f"{name}-cert.pem").write_bytes(signed.public_bytes(pem))
        (folder / "ca-cert.pem").write_bytes(self.certificate.public_bytes(pem))
