"""A person with a browser, as far as pages without a script go: cookies, forms and files."""

from __future__ import annotations

import http.client
import re
import secrets
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from installations import Installation

TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """Somebody at one installation."""

    def __init__(self, at: Installation):
        self.at, self.cookies, self.token = at, {}, ""

    def get(self, path: str) -> tuple[int, bytes]:
        """Look at a page."""
        return self._ask("GET", path, b"", {})

    def post(self, path: str, data: dict, on: str = "") -> tuple[int, bytes]:
        """Fill in the form of a page (``on``: the page that has it) and send it."""
        self.get(on or path)
        body = urlencode({"csrfmiddlewaretoken": self.token, **data}, doseq=True).encode()
        return self._ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def sign_in(self, email: str, password: str) -> int:
        """Sign in; answers the status."""
        return self.post("/sign-in", {"email": email, "password": password})[0]

    def _ask(self, method: str, path: str, body: bytes, headers: dict) -> tuple[int, bytes]:
        host = f"demo.{self.at.domain}:{self.at.port}"
        line = http.client.HTTPConnection("127.0.0.1", self.at.port, timeout=60)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        named = {"Host": host, "Referer": f"http://{host}{path}", "Origin": f"http://{host}", "Cookie": cookies}
        try:
            line.request(method, path, body=body, headers={**named, **headers})
            answer = line.getresponse()
            said = answer.read()
        finally:
            line.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                self.cookies |= {key: one.value for key, one in SimpleCookie(value).items()}
        if found := TOKEN.search(said):
            self.token = found[1].decode()
        return answer.status, said


def upload(at: Installation, path: str, name: str, content: bytes, **fields: str) -> tuple[int, bytes]:
    """Send a file to the API of an installation."""
    edge = secrets.token_hex(16)
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = b"".join(parts) + head + content + f"\r\n--{edge}--\r\n".encode()
    line = http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)
    try:
        line.request("POST", f"/api/v1{path}", body=body, headers={
            "Host": f"demo.{at.domain}:{at.port}", "Authorization": f"Bearer {at.token}",
            "Content-Type": f"multipart/form-data; boundary={edge}",
        })  # fmt: skip
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()
