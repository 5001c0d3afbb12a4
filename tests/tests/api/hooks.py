"""What schemathesis cannot know of this API, and two checks of our own."""

import re

import schemathesis
from schemathesis import GenerationMode

SHORT = "20ms"
UNITS_MS = {"": 1, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

# Rules that stand between fields, or are settings of the cluster: no schema can say them.
BETWEEN_FIELDS = re.compile(
    r"ttl|wait|timeout|prefix|continue|from|to|last-event-id|dsync-request|token"
    r"|(locks\[\d+\]\.)?(permits|permits_max)|locks\[\d+\]\.name"
    r"|messages\[\d+\](\.(body|base64|delay|ttl|headers.*))?"
    r"|items\[\d+\]\.(delay|visibility|reason|receipt)"
    r"|if-match|if-none-match|visibility|dedupe_window|(nack|timeout)_backoff\.(base|max)|id|messages\[\d+\]"
)


def is_long(value):
    """A length of time that the API takes, and that nobody wants to wait for here."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value > 20
    part = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)"
    if not isinstance(value, str) or not re.fullmatch(f"({part})+", value, re.ASCII):
        return False
    return sum(float(number) * UNITS_MS[unit] for number, unit in re.findall(part, value)) > 20


@schemathesis.hook
def before_call(context, case, kwargs):
    """A wait or a watch must not take minutes."""
    body = case.body
    if isinstance(body, dict) and is_long(body.get("wait")):
        body["wait"] = SHORT
    if case.path == "/v1/events":
        query = case.query = dict(case.query or {})
        if "timeout" not in query or is_long(query["timeout"]):
            query["timeout"] = SHORT


@schemathesis.check
def a_valid_request_is_refused_only_for_what_no_schema_can_say(ctx, response, case):
    valid = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if valid and response.status_code == 400:
        field = response.json().get("field") or ""
        if case.path.endswith("/check") and field == "hold":
            return  # It stands beside a token.
        assert BETWEEN_FIELDS.fullmatch(field), f"refused for {field!r}: {response.text}"


@schemathesis.check
def what_is_no_success_is_a_problem(ctx, response, case):
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers
    problem = response.json()
    assert problem["status"] == response.status_code, problem
    assert problem["request_id"] == response.headers["x-request-id"][0], problem
    assert (problem["code"] == "invalid_field") <= bool(problem.get("field")), problem
    assert problem["status"] != 500, problem
