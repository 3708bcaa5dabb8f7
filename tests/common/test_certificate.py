"""Certificates from files."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from common import certificate
from common.errors import SettingsError
from tests.support.certificates import issue


@pytest.fixture(scope="module")
def one() -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


def write(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def test_one_file_or_two(one: trustme.LeafCert, tmp_path: Path) -> None:
    whole = write(tmp_path, "whole.pem", one.private_key_and_cert_chain_pem.bytes())
    chain = write(tmp_path, "chain.pem", b"".join(blob.bytes() for blob in one.cert_chain_pems))
    key = write(tmp_path, "key.pem", one.private_key_pem.bytes())
    for context in (certificate.load(whole, ""), certificate.load(chain, key)):
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_NONE


def test_faults_name_the_files(one: trustme.LeafCert, tmp_path: Path) -> None:
    chain = write(tmp_path, "chain.pem", b"".join(blob.bytes() for blob in one.cert_chain_pems))
    garbage = write(tmp_path, "garbage.pem", b"garbage")
    issue(tmp_path / "other.pem")
    key = serialization.load_pem_private_key(one.private_key_pem.bytes(), None)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    locked = write(tmp_path, "locked.pem", secret)
    for files, words in (
        ((str(tmp_path / "none.pem"), ""), "none.pem: No such file"),
        ((str(tmp_path), ""), ""),
        ((garbage, ""), "garbage.pem and the key in it: no"),
        ((chain, ""), "chain.pem and the key in it: no"),
        ((chain, str(tmp_path / "other.pem")), "other.pem: key values mismatch"),
        ((chain, locked), "locked.pem: "),
    ):
        with pytest.raises(SettingsError) as fault:
            certificate.load(*files)
        assert words in str(fault.value)
        assert str(fault.value).endswith("- at `$.tls`")
        assert "\n" not in str(fault.value)
