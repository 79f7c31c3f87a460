"""What Google means by a 403, and what is written in a person's name."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from email import message_from_bytes

import pytest

from providers import google
from providers.catalogue.gdrive import PROVIDER as GDRIVE
from providers.catalogue.gmail import PROVIDER as GMAIL
from providers.errors import BadArguments, Forbidden, ToolError, TooManyRequests
from providers.spec import Reply
from tests.providers.fake_api import FakeApi


def no(reason: str, headers: Mapping[str, str] | None = None, *, status: int = 403) -> Reply:
    return Reply(status, headers or {}, b"", {"error": {"code": status, "errors": [{"reason": reason}]}})


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("userRateLimitExceeded", TooManyRequests),
        ("rateLimitExceeded", TooManyRequests),
        ("accessNotConfigured", Forbidden),
        ("insufficientPermissions", Forbidden),
    ],
)
def test_a_403_is_told_apart_by_its_reason(reason: str, kind: type[ToolError]) -> None:
    assert type(google.refusal_of(no(reason))) is kind


def test_the_scopes_google_names_are_not_asked_for_as_the_widest_is_among_them() -> None:
    challenge = (
        'Bearer error="insufficient_scope", scope="https://mail.google.com/ https://www.googleapis.com/auth/gmail.send"'
    )
    refused = google.refusal_of(no("insufficientPermissions", {"www-authenticate": challenge}))
    assert isinstance(refused, Forbidden)
    assert refused.scopes == ()


@pytest.mark.parametrize(
    "reply", [no("rateLimitExceeded", status=429), no("x", {"retry-after": "7"}), no("x", status=404)]
)
def test_other_answers_are_what_their_status_says(reply: Reply) -> None:
    assert google.refusal_of(reply) is None


async def test_no_value_ends_a_text_of_drives_search() -> None:
    api = FakeApi({"/drive/v3/files": {"files": []}}, web_base="https://drive.google.com")
    await GDRIVE.by_name["search_files"].invoke(api, {"query": "x' or 'me' in owners or name contains '\\"})
    assert api.asked[0][1]["q"].count(r"\'") == 2 * 5
    assert api.asked[0][1]["q"].endswith(r"contains \'\\') and trashed = false")


async def test_no_subject_or_address_adds_a_header_to_a_message() -> None:
    api = FakeApi({"POST /gmail/v1/users/me/messages/send": {"id": "1"}}, web_base="https://mail.google.com")
    letter = {"to": ["ada@example.com"], "subject": "Hi\r\nBcc: eve@evil.example", "text": "Hello"}
    await GMAIL.by_name["send_message"].invoke(api, letter)
    sent = message_from_bytes(urlsafe_b64decode(api.sent[0][2]["raw"]))
    assert sent["Bcc"] is None
    assert sent["To"] == "ada@example.com"
    assert sent["Subject"] == "Hi Bcc: eve@evil.example"


async def test_a_message_to_nobody_is_not_sent() -> None:
    api = FakeApi({}, web_base="https://mail.google.com")
    with pytest.raises(BadArguments):
        await GMAIL.by_name["send_message"].invoke(api, {"text": "Hello"})
    assert api.sent == []
