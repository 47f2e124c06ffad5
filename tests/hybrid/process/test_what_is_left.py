"""What is left in the files of the cloud when all is over: not a word that is closed, in no encoding, also not in what is deleted."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

CHUNK = 1 << 22


def test_no_file_of_the_cloud_holds_what_is_closed(pair):
    closed, opened = f"canary{secrets.token_hex(12)}", f"signal{secrets.token_hex(12)}"
    party = pair.premises.call("POST", "/parties", {"kind": "org", "name": opened, "notes": closed})
    pair.premises.call("PATCH", f"/parties/{party['id']}", {"notes": f"{closed} again", "city": "Gdynia"})
    point = {"party": party["id"], "type": "email", "value": f"{closed}@example.com"}
    pair.premises.call("POST", "/contact-points", point)
    pair.premises.call("POST", "/activities", {"kind": "note", "subject": closed, "body": closed, "party": party["id"]})
    deal = pair.premises.call(
        "POST", "/deals", {"title": "Quiet", "party": party["id"], "amount": "1", "notes": closed}
    )
    pair.premises.call("DELETE", f"/deals/{deal['id']}")
    pair.at_rest()
    assert pair.cloud.call("GET", f"/parties/{party['id']}")["name"] == opened
    pair.equal()
    pair.stop()
    assert hits(pair.home, opened), "The scan does not find what is there."
    assert hits(pair.home, closed) == []


def encodings(word: str) -> list[bytes]:
    """A word as it may lie in a file."""
    raw = word.encode()
    inner = [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)]
    return [
        raw,
        raw.upper(),
        raw[::-1],
        raw.hex().encode(),
        word.encode("utf-16-le"),
        word.encode("utf-16-be"),
        raw[:14],
        *inner,
    ]


def hits(home: Path, word: str) -> list[str]:
    """The files of the cloud in which the word is, in any encoding; those of the premises are not the cloud's."""
    looked_for = encodings(word)
    found = []
    for path in sorted(home.rglob("*")):
        if (home / "premises") in path.parents or not path.is_file() or path.is_symlink():
            continue
        tail = b""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                if any(one in tail + chunk for one in looked_for):
                    found.append(str(path.relative_to(home)))
                    break
                tail = chunk[-200:]
    return found
