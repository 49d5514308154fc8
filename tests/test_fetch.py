"""Files from the web: a server on this machine serves real files, and misbehaves."""

from __future__ import annotations

import gzip
import os
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from dii.cli import app
from dii.errors import InputTooLarge, SourceMissing, SourceUnreachable, UnknownFormat
from dii.telemetry import fetch
from dii.telemetry import load as loading
from tests.require import ROOT, program, real_data

load = partial(loading.load, gap=None)  # real files, and wrong ones, hold many dates

REGISTRY = "ttn/registry_world_2018-04-20.json"
UPLINKS = "ttn/ttn_v3_uplinks.jsonl"
HILLTOP = "campusiot/saint_eynard_device33.ndjson.gz"


class Handler(BaseHTTPRequestHandler):
    """Server of real files; the first part of the path selects its behaviour."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    quit = threading.Event()

    def do_GET(self) -> None:
        how, _, name = self.path.lstrip("/").partition("?")[0].partition("/")
        Handler.asked[how] += 1
        again = Handler.asked[how]
        self.close_connection = True
        match how:
            case "redirect":
                return self.answer(302, {"Location": f"/plain/{name}"})
            case "loop":
                return self.answer(302, {"Location": self.path})
            case "inside":
                return self.answer(302, {"Location": name})
            case "elsewhere":
                return self.answer(302, {"Location": "file:///etc/hostname"})
            case "faltering" if again < 3:
                return self.answer(503)
            case "broken":
                return self.answer(500)
            case "forbidden":
                return self.answer(403)
            case "absent":
                return self.answer(404)
            case "endless" | "drip" | "silent":
                return self.endless(how)
        content = real_data(name).read_bytes()
        if how == "huge":
            return self.answer(200, {"Content-Length": str(10**15)})
        whole = len(content)
        if how == "cut" or (how == "once-cut" and again == 1):
            content = content[: whole // 2]
        if how == "encoded":
            content = gzip.compress(content)
            return self.answer(200, {"Content-Encoding": "gzip"}, content)
        return self.answer(200, {"Content-Length": str(whole)}, content)

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "Connection": "close"} | (headers or {})
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self, how: str) -> None:
        self.send_response(200)
        self.end_headers()
        piece = b" " * 65536 if how == "endless" else b" "
        try:
            while not self.quit.wait(0 if how == "endless" else 0.02):
                if how != "silent":
                    self.wfile.write(piece)
        except OSError:
            pass  # the client has had enough

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    real_data(REGISTRY)  # what it serves; without it there is nothing to test
    monkeypatch.setattr(fetch, "BACKOFF", 0.01)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    Handler.asked = Counter()
    Handler.quit.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        Handler.quit.set()
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", [REGISTRY, UPLINKS])
@pytest.mark.parametrize("how", ["plain", "redirect", "encoded", "faltering", "once-cut"])
def test_a_file_from_the_web_says_what_the_file_says(server: str, how: str, name: str) -> None:
    assert load(f"{server}/{how}/{name}") == load(real_data(name))
    assert Handler.asked[how] == {"faltering": 3, "once-cut": 2}.get(how, 1)


def test_a_gzipped_file_from_the_web_is_a_file(server: str) -> None:
    data = load(f"{server}/plain/{HILLTOP}")
    assert len(data.receptions) == 93_435
    assert set(data.rejects.file) == {"saint_eynard_device33.ndjson.gz"}


def test_a_url_twice_is_fetched_once_and_two_of_one_name_are_told_apart(server: str) -> None:
    one, two = f"{server}/plain/{UPLINKS}?key=secret", f"{server}/redirect/{UPLINKS}"
    data = load(one, one, two)
    assert Handler.asked["plain"] == 2
    shown = {f"{server}/plain/{UPLINKS}", f"{server}/redirect/{UPLINKS}"}
    assert set(data.rejects.file) == shown
    assert len(data.receptions) == 41


@pytest.mark.parametrize(
    ("how", "message", "attempts"),
    [
        ("broken", "the server answers 500", 3),
        ("cut", "without sending complete message body", 3),
        ("forbidden", "the server answers 403", 1),
        ("loop", "redirects", 6),
        ("elsewhere", "protocol", 1),
    ],
)
def test_an_incomplete_download_is_an_error_that_names_it(
    server: str, how: str, message: str, attempts: int
) -> None:
    with pytest.raises(SourceUnreachable, match=message) as caught:
        load(f"{server.replace('//', '//me:secret@')}/{how}/{REGISTRY}?key=secret")
    assert Handler.asked[how] == attempts
    assert "secret" not in str(caught.value)
    assert f"{how}/{REGISTRY}" in str(caught.value)


def test_a_missing_file_is_missing_and_a_dead_server_unreachable(server: str) -> None:
    with pytest.raises(SourceMissing, match=r"absent/nothing\.json"):
        load(f"{server}/absent/nothing.json")
    with pytest.raises(SourceUnreachable, match="attempts: 3"):
        load("http://127.0.0.1:9/file.json")
    with pytest.raises(SourceUnreachable, match="cannot be read"):
        load("http://[me:secret@host/file.json")


WITHIN = [
    "localhost", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f000001",
    "10.0.0.1", "169.254.169.254", "192.168.0.1", "[fe80::1]", "[fd00::1]",
]  # fmt: skip
"""Spellings of addresses that are not public."""


@pytest.mark.parametrize("host", WITHIN)
def test_a_redirect_leads_to_no_address_within(server: str, host: str) -> None:
    port = server.rpartition(":")[2]
    with pytest.raises(SourceUnreachable, match="not public") as caught:
        load(f"{server}/inside/http://{host}:{port}/plain/{UPLINKS}")
    assert Handler.asked["plain"] == 0
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["drip", "silent"])
def test_a_slow_server_is_given_up(server: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_SECONDS", 0.3)
    monkeypatch.setattr(fetch, "SILENCE", 0.1)
    with pytest.raises(SourceUnreachable):
        load(f"{server}/{how}/file.json")


@pytest.mark.parametrize("how", ["endless", "huge"])
def test_a_file_beyond_all_bounds_is_refused(
    server: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 20)
    with pytest.raises(InputTooLarge, match="where 1,048,576 are allowed"):
        load(f"{server}/{how}/{REGISTRY}")
    assert Handler.asked[how] == 1


def test_downloads_are_recognised_like_files(server: str) -> None:
    with pytest.raises(UnknownFormat, match=r"README\.md"):
        load(f"{server}/plain/README.md")


def test_a_server_is_believed_with_a_certificate_that_is_trusted_and_only_then(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here"
    )
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([program("openssl"), *words.split(), *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as https:
        https.socket = context.wrap_socket(https.socket, server_side=True)
        thread = threading.Thread(target=https.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"https://127.0.0.1:{https.server_port}/plain/{UPLINKS}"
            with pytest.raises(SourceUnreachable, match="certificate"):
                load(url)
            assert not Handler.asked
            monkeypatch.setenv("SSL_CERT_FILE", certificate)
            assert load(url) == load(real_data(UPLINKS))
        finally:
            https.shutdown()
            thread.join()


@pytest.mark.parametrize("verb", ["load", "run --receptions"])
def test_the_command_line_fetches(server: str, verb: str, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    source = [*verb.split(), f"{server}/plain/{UPLINKS}", "--gap", "1000"]
    commands = [["init", *home, "--seed", "7"], [*source, *home]]
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert "41 receptions" in done.stdout


def test_loading_files_imports_no_http_client() -> None:
    code = (
        "import sys; from dii.telemetry.load import load\n"
        f"load({str(real_data(UPLINKS))!r}, gap=None); assert 'httpx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
