"""The pages people see, as HTML text. Everything that comes from elsewhere is escaped here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from time import gmtime, strftime

from starlette.responses import HTMLResponse

from providers.sandbox.grants import Client, Family
from providers.sandbox.records import Issue, Organization, Person, Release
from providers.sandbox.words import PASSWORD

STYLE = (Path(__file__).parent / "sandbox.css").read_text(encoding="utf-8")
HEADERS = {
    # A consent is answered with a redirect to the client, which browsers count as the form's target too.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self' http: https:; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, body: str, *, person: Person | None = None, status: int = 200) -> HTMLResponse:
    """One whole page; `body` is HTML, `title` is text."""
    who = ""
    if person is not None:
        name = escape(person.name)
        who = f'<form method="post" action="/auth/logout/"><span>{name}</span><button>Log out</button></form>'
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Sandbox</title>
<link rel="stylesheet" href="/sandbox.css">
</head>
<body>
<header><a href="/">Sandbox</a><em>speaks Sentry's API, all data is made up</em>{who}</header>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>"""
    return HTMLResponse(text, status, headers=HEADERS)


def trouble(title: str, sentence: str, *, status: int) -> HTMLResponse:
    """What went wrong and what to do."""
    return page(title, f"<p>{escape(sentence)}</p>", status=status)


def login(people: Iterable[tuple[Person, list[Organization]]], after: str, *, wrong: bool = False) -> HTMLResponse:
    """Who are you, of these people with their organizations? The password is filled in: nothing real is behind it."""
    choices = "\n".join(
        _choice(
            f'type="radio" name="email" value="{escape(person.email)}"{" checked" if person.id == 1 else ""}',
            person.name,
            f"{person.email} in {', '.join(org.name for org in organizations)}",
        )
        for person, organizations in people
    )
    complaint = '<p class="wrong" role="alert">That e-mail and password do not match.</p>' if wrong else ""
    body = f"""{complaint}<p>Choose one of three made-up people.</p>
<form method="post" action="/auth/login/" class="stack">
<input type="hidden" name="next" value="{escape(after)}">
<fieldset><legend>Log in as</legend>
{choices}
</fieldset>
<label class="field">Password
<input type="password" name="password" value="{PASSWORD}" autocomplete="current-password" required></label>
<small>Already filled in: everybody's password is <code>{PASSWORD}</code>.</small>
<button class="primary">Log in</button>
</form>"""
    return page("Log in", body, status=403 if wrong else 200)


def consent(
    client: Client,
    person: Person,
    organizations: Iterable[Organization],
    scopes: Iterable[tuple[str, str]],
    *,
    pending: str,
    again: str,
) -> HTMLResponse:
    """May this application act for you? Each scope (name, meaning) can be unticked; `again` logs someone else in."""
    boxes = "\n".join(
        _choice(f'type="checkbox" name="scope" value="{escape(scope)}" checked', meaning, scope)
        for scope, meaning in scopes
    )
    where = ", ".join(escape(org.name) for org in organizations)
    body = f"""<p><strong>{escape(client.name)}</strong> asks to act for you, <strong>{escape(person.name)}</strong>
({escape(person.email)}), in {where}. <a href="{escape(again)}">Not you?</a></p>
<form method="post" action="/oauth/authorize/" class="stack">
<input type="hidden" name="pending" value="{escape(pending)}">
<fieldset><legend>It may</legend>
{boxes}
</fieldset>
<small>Untick what it should not do. You can remove it again on your start page.</small>
<p class="buttons"><button class="primary" name="op" value="approve">Approve</button>
<button name="op" value="deny">Deny</button></p>
</form>"""
    return page(f"Connect {client.name}?", body, person=person)


def home(
    person: Person, organizations: Iterable[Organization], connected: Iterable[Family], origin: str
) -> HTMLResponse:
    """Where a person sees what they belong to and what they have connected."""
    places = "\n".join(
        f"<li><strong>{escape(org.name)}</strong> <small>{escape(org.slug)}: "
        f"{escape(', '.join(project.slug for project in org.projects))}</small></li>"
        for org in organizations
    )
    applications = "\n".join(
        f'<li><form method="post" action="/settings/account/authorizations/" class="line"><span>'
        f"<strong>{escape(family.client.name)}</strong> <small>{escape(' '.join(family.scopes))}</small></span>"
        f'<button name="authorization" value="{escape(family.id)}">Remove</button></form></li>'
        for family in connected
    )
    register = (
        f"curl -X POST {origin}/_clients -d "
        """'{"name": "My application", "redirect_uris": ["http://127.0.0.1:8000/callback"]}'"""
    )
    body = f"""<h2>Your organizations</h2><ul>{places}</ul>
<h2>Connected applications</h2><ul>{applications or "<li>None yet.</li>"}</ul>
<h2>Connect your own</h2><p>Register it, then send people to <code>/oauth/authorize/</code>:</p>
<pre>{escape(register)}</pre>"""
    return page(f"Hello, {person.name}", body, person=person)


def issue(found: Issue, person: Person) -> HTMLResponse:
    """What an issue's permalink shows."""
    rows = (
        ("Where", found.fault.culprit),
        ("Project", found.project.name),
        ("Level", found.fault.level),
        ("Status", found.status),
        ("Events", f"{found.events:,}"),
        ("Users", f"{found.users:,}"),
        ("First seen", f"{_when(found.first_seen)} in {found.release.version}"),
        ("Last seen", _when(found.last_seen)),
    )
    said = "\n".join(
        f"<li>{escape(comment.text)} <small>{escape(comment.author.name)}, {_when(comment.created)}</small></li>"
        for comment in found.comments
    )
    source = f"<h2>{escape(found.fault.file)}</h2><pre>{escape(found.fault.line.strip())}</pre>"
    comments = f"<h2>Comments</h2><ul>{said}</ul>" if said else ""
    return page(found.title, f"<p><code>{found.short_id}</code></p>{_facts(rows)}{source}{comments}", person=person)


def release(found: Release, person: Person) -> HTMLResponse:
    """What a release's permalink shows."""
    sessions, crashed = (
        tally.between(found.first, found.last)
        for tally in (found.project.tallies["sessions"], found.project.tallies["crashed"])
    )
    rows = (
        ("Project", found.project.name),
        ("Released", _when(found.created)),
        ("Last commit", f"{found.message} ({found.author.name})"),
        ("Commits", str(found.commits)),
        ("New issues", str(found.new_issues)),
        ("Errors", f"{found.project.tallies['errors'].between(found.first, found.last):,}"),
        (
            "Crash-free sessions",
            f"{100 - 100 * crashed / sessions:.2f} % of {sessions:,}" if sessions else "no sessions",
        ),
    )
    return page(found.version, _facts(rows), person=person)


def _choice(attributes: str, strong: str, small: str) -> str:
    """A box or button to tick with two lines beside it; `attributes` is HTML, the rest is text."""
    return (
        f'<label class="choice"><input {attributes}>'
        f"<span><strong>{escape(strong)}</strong><small>{escape(small)}</small></span></label>"
    )


def _when(seconds: int) -> str:
    return strftime("%d %b %Y, %H:%M UTC", gmtime(seconds))


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"
