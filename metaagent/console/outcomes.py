"""How asks end that are not answered, in words for whoever reads of them; see `metaagent.agent.failures`."""

from __future__ import annotations

from typing import Final

_WORDS: Final = {
    "needs_auth": "an account had to be connected first",
    "needs_consent": "the person had to consent first",
    "approval_required": "the person had to approve the call first",
    "capability_miss": "the account allows too little",
    "account_ambiguous": "it was not clear which account was meant",
    "account_unknown": "there is no such account",
    "ask_invalid": "it could not be worked as it was asked",
    "rate_limited": "too many asks in a minute",
    "circuit_open": "the provider was left alone after it had failed",
    "overloaded": "too much at once",
    "provider_unavailable": "the provider did not answer",
    "model_unavailable": "there was no model",
    "budget_exceeded": "a budget was used up",
    "policy_denied": "a policy did not allow it",
    "internal": "a fault of our own",
    "cancelled": "the client went away",
}


def in_words(code: str, otherwise: str = "it did not work") -> str:
    """Of the code that an ask or a call ended with; `otherwise`, where nobody has found words for it."""
    return _WORDS.get(code, otherwise)
