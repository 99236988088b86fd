"""TLS between Envoy and the picker, with certificates of both sides."""

from pathlib import Path

import echo
import pytest
import trustme
from conftest import shared


@pytest.fixture
def server():
    started = echo.serve()
    yield started
    started.shutdown()


@pytest.fixture
def authorities(tmp_path):
    """Two authorities, each with a certificate for a picker and one for an Envoy."""
    for name in ("ours", "other"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / f"{name}.crt")
        for side in ("picker", "envoy"):
            folder = tmp_path / name / side
            folder.mkdir(parents=True)
            issued = authority.issue_cert("localhost")
            issued.private_key_pem.write_to_path(folder / "tls.key")
            # The chain: of these authorities it is one certificate long.
            issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    return tmp_path


def mutual(front, server, authorities: Path, *, picker: str = "ours", envoy: str = "ours", edits=()):
    """Both sides trust our authority, and have certificates of these."""
    ours = str(authorities / "ours.crt")
    return front(
        [server.url],
        picker_arguments=["--cert-path", str(authorities / picker / "picker"), "--client-ca", ours],
        envoy_arguments=["--envoy-cert-path", str(authorities / envoy / "envoy"), "--envoy-picker-ca", ours],
        edits=edits,
    )


def test_both_sides_show_certificates_and_the_picker_follows_new_ones(front, server, authorities):
    one = mutual(front, server, authorities)
    assert [one.ask().status_code for _ in range(3)] == [200] * 3
    assert one.picker.outcomes("complete") == 3
    # A certificate of the other authority: Envoy's next connection is refused by Envoy itself.
    for file in ("tls.crt", "tls.key"):
        (authorities / "ours/picker" / file).write_bytes((authorities / "other/picker" / file).read_bytes())
    reloads = lambda: shared.total(one.picker.metrics(), "pointsman_certificate_reloads_total", result="success")
    shared.eventually(reloads, "the picker reads its certificate again")
    one.envoy.stop()
    one.start_envoy()
    assert one.ask().status_code == 500
    assert "UnknownCA" in one.picker.log()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"envoy": "other"}, "TLS handshake: invalid peer certificate: UnknownIssuer"),
        ({"picker": "other"}, "TLS handshake: received fatal alert: UnknownCA"),
        ({"envoy": "none"}, "TLS handshake: peer sent no certificates"),
    ],
    ids=["envoy's is of another authority", "the picker's is", "envoy has none"],
)
def test_a_wrong_certificate_is_an_error_that_says_so(front, server, authorities, options, told):
    envoy = authorities / "ours/envoy"
    shown = f"certificate_chain: {{filename: '{envoy}/tls.crt'}}, private_key: {{filename: '{envoy}/tls.key'}}"
    edits = [(f", tls_certificates: [{{{shown}}}]", "")] if options.get("envoy") == "none" else ()
    one = mutual(front, server, authorities, **({} if edits else options), edits=edits)
    assert one.ask().status_code == 500
    assert server.requests == 0
    assert told in one.picker.log()


def test_a_bootstrap_without_the_certificate_that_the_picker_wants_is_not_printed(authorities):
    arguments = ["epp", "--endpoint", "http://127.0.0.1:1", "--print-envoy-config"]
    wanting = ["--cert-path", str(authorities / "ours/picker"), "--client-ca", str(authorities / "ours.crt")]
    refused = shared.run(*arguments, *wanting)
    assert refused.returncode != 0 and "--envoy-cert-path" in refused.stderr
    pointless = shared.run(*arguments, "--secure-serving=false", "--envoy-cert-path", str(authorities / "ours/envoy"))
    assert pointless.returncode != 0 and "have no effect" in pointless.stderr
