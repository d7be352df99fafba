"""Fetching weights: from a small server on this machine, and from nowhere."""

import hashlib
import http.server
import logging
import threading
import time

import pytest

from fullconv.errors import FullconvError
from fullconv.models import fetch

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100] if self.path.startswith("/short") else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_a_file_is_fetched_once(server, cache, capfd):
    path = fetch.fetch_url(f"{server}/net-{DIGEST}.pth")
    assert path == cache / f"net-{DIGEST}.pth"
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"from the cache")
    assert fetch.fetch_url(f"{server}/net-{DIGEST}.pth").read_bytes() == b"from the cache"
    assert capfd.readouterr().out == ""  # stdout is for data


@pytest.mark.parametrize("name", [f"short-{DIGEST}.pth", "net-00000000.pth", "missing.pth"])
def test_a_failure_leaves_nothing_behind(server, cache, name):
    with pytest.raises((OSError, RuntimeError)):
        fetch.fetch_url(f"{server}/{name}")
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_source_that_does_not_answer_is_given_up():
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        fetch.answered(lambda: time.sleep(5), 0.05)
    assert time.monotonic() - begin < 2
    assert fetch.PATIENCE < 10


def test_the_hub_is_asked_once_and_held_back(monkeypatch, capfd, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_url", lambda *_: "http://127.0.0.1:9/nothing")
    begin = time.monotonic()
    with pytest.raises(Exception, match=r"refused|Errno") as caught:
        fetch.fetch_hub("fullconv-tests/nothing")
    assert not isinstance(caught.value, FullconvError)
    assert time.monotonic() - begin < 5
    assert capfd.readouterr() == ("", "")


def test_the_hub_gives_what_it_has(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    errors = pytest.importorskip("huggingface_hub.errors")
    absent = errors.EntryNotFoundError.__new__(errors.EntryNotFoundError)

    def metadata(url, timeout):
        assert timeout == fetch.PATIENCE
        if url.endswith(".safetensors"):
            raise absent

    monkeypatch.setattr(hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(hub, "hf_hub_download", lambda repository, name: f"/{repository}/{name}")
    assert str(fetch.fetch_hub("a/b")) == "/a/b/pytorch_model.bin"
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: str(tmp_path / "cached"))
    assert fetch.fetch_hub("a/b") == tmp_path / "cached"
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub, "hf_hub_url", lambda *_: "x.safetensors")
    with pytest.raises(FileNotFoundError, match=r"a/b has no model\.safetensors or pytorch_model"):
        fetch.fetch_hub("a/b")


def test_the_log_tells_of_a_download(server, caplog):
    with caplog.at_level(logging.INFO, "fullconv"):
        fetch.fetch_url(f"{server}/net-{DIGEST}.pth")
    assert "fetching http://127.0.0.1" in caplog.text
