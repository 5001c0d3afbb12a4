"""Uses a client that was generated from /openapi.json: takes, renews and releases a lock, reads events.

Called with the folder of the generated package and the node's address.
"""

import json
import sys

folder, address = sys.argv[1:]
sys.path.insert(0, folder)

from generated import Client  # noqa: E402
from generated.api.events import watch_events  # noqa: E402
from generated.api.locks import acquire_lock, get_lock, release_lock, renew_lock  # noqa: E402
from generated.models import (  # noqa: E402
    AcquireRequest,
    GrantAnswer,
    HoldRequest,
    LockNowAnswer,
    Problem,
    ReleaseAnswer,
    RenewAnswer,
    RenewRequest,
)

NAME = "generated/\u00fc"
client = Client(base_url=f"http://{address}", raise_on_unexpected_status=True)


def ask(route, kind, *arguments, **more):
    """The parsed answer, which has to be of this kind."""
    answer = route.sync(*arguments, client=client, **more)
    assert isinstance(answer, kind), answer
    return answer


grant = ask(acquire_lock, GrantAnswer, NAME, body=AcquireRequest(owner="ann", ttl="1m"),
            idempotency_key="once")
again = ask(acquire_lock, GrantAnswer, NAME, body=AcquireRequest(owner="ann", ttl="1m"),
            idempotency_key="once")
assert again.hold == grant.hold and again.token == grant.token

held = ask(acquire_lock, Problem, NAME, body=AcquireRequest(owner="bob"))
assert (held.status, held.code, held.retryable) == (409, "held", False), held

renewed = ask(renew_lock, RenewAnswer, NAME, body=RenewRequest(hold=grant.hold, ttl="2m"))
assert 60_000 < renewed.remaining_ms <= 120_000, renewed
lock = ask(get_lock, LockNowAnswer, NAME)
assert [holder.owner for holder in lock.holders] == ["ann"], lock
ask(release_lock, ReleaseAnswer, NAME, body=HoldRequest(hold=grant.hold))

stream = watch_events.sync(client=client, name=NAME, from_=1, timeout="100ms")
lines = [json.loads(line) for line in stream.splitlines()]
assert [line["what"] for line in lines if "what" in line] == ["granted", "refused", "released"], lines
assert "bookmark" in lines[0] and lines[-1]["end"]["code"] == "timeout", lines
print("taken, renewed, released, and seen")
