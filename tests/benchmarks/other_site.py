"""A site that answers messages in a process of its own: ``python other_site.py <slug> <lane>``, as the server of the other site would.

Reads messages from its input and writes the answers, each behind its length; ends with its input. To a ``push`` it says how
far it is, to a ``pull`` what is new.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager


class OtherSite:
    """The process, as the site that speaks sees it."""

    def __init__(self, process: subprocess.Popen, pool: ThreadPoolExecutor):
        self.process, self.pool = process, pool

    def take(self, packed: bytes) -> Future:
        """Let it take a message; its answer comes."""
        return self.pool.submit(self._asked, packed)

    def _asked(self, packed: bytes) -> bytes:
        tell(self.process.stdin, packed)
        answer = heard(self.process.stdout)
        if answer is None:
            raise RuntimeError("The other site has ended.")
        return answer


@contextmanager
def other_site(slug: str, lane: str) -> Iterator[OtherSite]:
    """The process for the tenant of this slug, as long as the block lasts."""
    command = [sys.executable, __file__, slug, lane]
    with ThreadPoolExecutor(1) as pool:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield OtherSite(process, pool)
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()


def tell(out, said: bytes) -> None:
    """Write one message."""
    out.write(len(said).to_bytes(8, "big") + said)
    out.flush()


def heard(source) -> bytes | None:
    """Read one message; None when there are no more."""
    length = source.read(8)
    return source.read(int.from_bytes(length, "big")) if len(length) == 8 else None


def main(slug: str, lane: str) -> None:
    """Take what comes, and answer."""
    import django

    django.setup()
    from ostoja.hybrid.exchange import Exchange, Message
    from ostoja.hybrid.models import Link
    from ostoja.kernel.memory import keep_what_is_loaded
    from ostoja.tenancy.context import tenant_context
    from ostoja.tenancy.provisioning import find

    keep_what_is_loaded()
    with tenant_context(find(slug)):
        exchange = Exchange(Link.objects.select_related("site", "progress").get())
        while (packed := heard(sys.stdin.buffer)) is not None:
            message = Message.unpack(packed)
            exchange.incoming(message)
            tell(sys.stdout.buffer, exchange.outgoing(silent=lane == "push", behind=message.behind).pack())


if __name__ == "__main__":
    main(*sys.argv[1:])
