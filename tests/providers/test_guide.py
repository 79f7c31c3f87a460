"""What docs/providers.md says of limits and of registering clients, from the values that hold.

`UPDATE_DOCS=1` writes these parts instead of comparing them.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from providers import catalogue
from providers.limits import BOUNDS
from providers.spec import ProviderSpec

DOCUMENT = Path(__file__).parents[2] / "docs" / "providers.md"
CALLBACK = "`https://agents.example.com/oauth/callback/<id>/`"
WORDS = {
    "provider_calls_per_minute": "calls a minute by one account",
    "provider_calls_per_minute_tenant": "calls a minute by all accounts of the installation together",
    "provider_calls_at_once": "calls under way, in one process",
    "provider_calls_at_once_account": "of these, by one account",
    "breaker_failures": "calls that fail in a row before the provider is left alone",
    "breaker_pause_s": "seconds between the calls that try it then",
    "result_cache_s": "seconds a tool's result is given again at most; 0: never",
    "tool_calls_per_ask": "tool calls of one ask",
}


def kept(name: str, text: str) -> None:
    """The part between the marks of this name is `text`, or becomes it."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(begin)
    shown, _, after = rest.partition(end)
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    else:
        assert shown.strip() == text, "run this test with UPDATE_DOCS=1"


def test_the_table_of_limits_is_what_an_installation_may_set() -> None:
    lines = ["| limit | is | from | to | counts |", "|---|---|--:|--:|---|"]
    for name, bound in BOUNDS.items():
        assert hasattr(settings, name.upper())
        counts = "the installation's" if bound.either_way else "the smaller one"
        lines.append(f"| `{name}` | {WORDS[name]} | {bound.least:,} | {bound.most:,} | {counts} |")
    kept("limits", "\n".join(lines))


def test_the_guide_says_how_a_client_is_registered_with_each_provider_of_the_catalogue() -> None:
    found = sorted((spec for slug in catalogue.slugs() if (spec := catalogue.get(slug))), key=lambda spec: spec.title)
    kept("clients", "\n\n".join(map(section, found)))


def section(spec: ProviderSpec) -> str:
    assert spec.register_url, f"{spec.id} does not say where a client is registered"
    scopes = ", ".join(f"`{scope}`" for scope in spec.oauth.scopes) or "none"
    steps = [step.format(redirect_uri=CALLBACK, scopes=scopes) for step in spec.register_steps]
    lines = [f"### {spec.title}", "", f"`{spec.id}`, at <{spec.register_url}>", ""]
    lines += [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    if spec.mcp_url:
        lines += [
            "",
            f"Its own MCP server is at <{spec.mcp_url}>: `--source mcp` instead of a client, where it allows that.",
        ]
    if spec.unconfirmed:
        lines += ["", "Not confirmed by a public document we have read:", ""]
        lines += [f"- {fact}" for fact in spec.unconfirmed]
    return "\n".join(lines)
