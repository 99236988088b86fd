"""The command line: help, error messages of one line, exit statuses."""

import json
import shutil
import socket
import subprocess

import pytest

from conftest import ROOT, run


def test_help_names_every_command():
    text = run("--help").stdout
    for command in ("gateway", "engine", "demo", "bench", "check", "replay", "explain", "completions"):
        assert command in text
        assert run(command, "--help").returncode == 0


def test_completions():
    assert "pointsman" in run("completions", "bash").stdout


def test_a_port_in_use_is_an_error_of_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:{}".format(taken.getsockname()[1])
        for command in (
            ["engine", "--listen", address],
            ["gateway", "--listen", address, "--admin", "127.0.0.1:0", "--endpoint", "http://127.0.0.1:1"],
            ["gateway", "--listen", "127.0.0.1:0", "--admin", address, "--endpoint", "http://127.0.0.1:1"],
        ):
            done = run(*command)
            assert done.returncode != 0
            lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
            assert len(lines) == 1 and address in lines[0], done.stderr
            assert lines[0].count("Address already in use") == 1, done.stderr


def test_a_missing_folder_is_an_error_of_one_line(tmp_path):
    done = run("gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--manifests", str(tmp_path / "none"))
    assert done.returncode != 0
    assert str(tmp_path / "none") in done.stderr
    assert done.stderr.count("No such file") == 1, done.stderr


def test_missing_endpoints_name_both_options():
    stderr = run("gateway").stderr
    assert "--endpoint" in stderr and "--manifests" in stderr


@pytest.mark.parametrize("option", [["--engine-ca", "ca.crt"], ["--engine-api-key-file", "key"], ["--client-keep-alive", "65s"], ["--print-manifests"]])
def test_options_without_effect_on_manifests_are_refused(option):
    done = run("gateway", "--manifests", str(ROOT / "examples/quick"), *option)
    assert done.returncode == 2 and option[0] in done.stderr and "--manifests" in done.stderr, done.stderr


def test_printed_manifests_pass_check(tmp_path):
    printed = run("gateway", "--endpoint", "http://127.0.0.1:8000", "--print-manifests")
    assert printed.returncode == 0
    (tmp_path / "quick.yaml").write_text(printed.stdout)
    checked = run("check", str(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


EXAMPLES = sorted(p for p in (ROOT / "examples").iterdir() if p.is_dir() and p.name != "broken")


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda p: p.name)
def test_every_example_is_valid(folder, tmp_path):
    if folder.name == "tls":
        missing = run("check", str(folder))
        assert missing.returncode == 1 and missing.stdout.count("No such file") == 2, missing.stdout
        folder = with_files(folder, tmp_path / "tls")
    checked = run("check", str(folder))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def with_files(folder, copy):
    """The example with the files that it says how to make."""
    shutil.copytree(folder, copy)
    comment = "".join(line[1:] for line in (folder / "routing.yaml").open() if line.startswith("#"))
    command = comment[comment.index("openssl") : comment.index("-out tls.crt") + len("-out tls.crt")]
    subprocess.run(["bash", "-c", command], cwd=copy, check=True, capture_output=True)
    shutil.copy(copy / "tls.crt", copy / "engines-ca.crt")
    (copy / "engines.key").write_text("key\n")
    return copy


BROKEN = sorted((ROOT / "examples/broken").glob("*.yaml"))


@pytest.mark.parametrize("file", BROKEN, ids=lambda p: p.name)
def test_every_broken_example_fails_with_file_and_line(file):
    checked = run("check", str(file), "--json")
    assert checked.returncode == 1
    problems = json.loads(checked.stdout)["problems"]
    assert problems and all(p["line"] > 0 and p["file"].endswith(file.name) for p in problems)


def test_certificate_authorities_without_a_tls_endpoint_are_refused():
    done = run("gateway", "--endpoint", "http://127.0.0.1:1", "--engine-ca", "ca.pem", "--print-manifests")
    assert done.returncode != 0
    assert "--engine-ca has no effect" in done.stderr


def test_bench_without_any_response_fails():
    done = run("bench", "--target", "http://127.0.0.1:1", "--model", "m", "--arrivals", "constant:20", "--duration", "1s")
    assert done.returncode == 1
