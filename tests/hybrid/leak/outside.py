"""What stands outside of the premises in tests of what leaves them: hosts that keep what comes; and the web process that is inside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

FOLDER = Path(__file__).parent


class Host:
    """A server somewhere outside, for HTTP and for datagrams at one port; ``kept`` is every byte that came."""

    def __init__(self, address: str = "127.0.0.1"):
        kept = self.kept = []

        class Keeping(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kept.extend([self.requestline.encode(), bytes(self.headers), body])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET

            def log_message(self, *_):
                """Says nothing."""

        self.server = ThreadingHTTPServer((address, 0), Keeping)
        self.server.daemon_threads = True
        self.place = f"{address}:{self.server.server_port}"
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind((address, self.server.server_port))
        self.datagrams.settimeout(0.1)
        self.closed = False
        for work in (lambda: self.server.serve_forever(0.05), self._take):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        while not self.closed:
            try:
                self.kept.append(self.datagrams.recv(65536))
            except TimeoutError:
                continue

    def close(self) -> None:
        """Nothing comes any more."""
        self.closed = True
        self.server.shutdown()
        self.server.server_close()


class Web:
    """A web process of the premises, served by Granian like the product's; strangers sit in it. ``log`` is what it has said."""

    def __init__(self, log: Path, *, open: bool):
        self.log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {k: v for k, v in os.environ.items() if k != "OSTOJA_OUTBOUND_HOSTS"}
        environment |= {"PYTHONPATH": str(FOLDER)} | ({"STRAY_OPEN": "yes"} if open else {})
        command = [
            "granian",
            "--interface",
            "wsgi",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--workers",
            "1",
            "--no-ws",
        ]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, "stray:application"], env=environment, stdout=out, stderr=out
            )
        until = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def ask(self, path: str, **asked: str) -> dict[str, str]:
        """Let strangers do their work; what came of it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?{urlencode(asked)}", timeout=60) as answer:
            return json.loads(answer.read())

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(20)
