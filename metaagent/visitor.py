"""A person in a browser, without the browser: keeps cookies, fills in forms. For the demo and the tests."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urljoin

import httpx2

_MOST_REDIRECTS = 20


@dataclass(slots=True)
class Form:
    """One form of a page and its fields as they would be sent untouched."""

    action: str
    method: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._list = ""
        """The select that is open, by name."""
        self._text = ""
        """The textarea that is open, by name."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._open)
        elif self._open is not None and self._list and tag == "option":
            # The first counts unless another is marked; an option without a value is of no use to a visitor.
            if "selected" in given or self._list not in self._open.fields:
                self._open.fields[self._list] = [given.get("value", "")]
        elif self._open is None or not given.get("name"):
            return
        elif tag == "button":
            self._open.buttons.append((given["name"], given.get("value", "")))
        elif tag == "input":
            unticked = given.get("type") in {"checkbox", "radio"} and "checked" not in given
            if given.get("type") not in {"submit", "button"} and not unticked:
                self._open.fields.setdefault(given["name"], []).append(given.get("value", "on"))
        elif tag == "select":
            self._list = given["name"]
        elif tag == "textarea":
            self._text = given["name"]
            self._open.fields[self._text] = [""]

    def handle_data(self, data: str) -> None:
        if self._open is not None and self._text:
            self._open.fields[self._text][0] += data

    def handle_endtag(self, tag: str) -> None:
        match tag:
            case "form":
                self._open = None
            case "select":
                self._list = ""
            case "textarea":
                self._text = ""


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Made once: each client would read all certificates anew."""
    return ssl.create_default_context()


class Visitor:
    """Opens pages and sends forms; `page` is the last answer.

    A redirect to an address that begins with `stops_at` is not followed.
    """

    def __init__(self, *, stops_at: str | None = None) -> None:
        self.http = httpx2.Client(timeout=30, trust_env=False, verify=_tls())
        self.page = httpx2.Response(204)
        self.stops_at = stops_at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def open(self, url: str) -> httpx2.Response:
        """Go to an address and follow where it leads."""
        return self._arrive(self.http.get(url))

    def _arrive(self, answer: httpx2.Response) -> httpx2.Response:
        for _ in range(_MOST_REDIRECTS):
            onward = answer.next_request
            if onward is None or (self.stops_at and str(onward.url).startswith(self.stops_at)):
                break
            passed, answer = [*answer.history, answer], self.http.send(onward)
            answer.history = passed
        self.page = answer
        return answer

    def forms(self) -> list[Form]:
        """The forms of the page."""
        parser = _Forms()
        parser.feed(self.page.text)
        return parser.forms

    def send(self, form: Form, /, **values: str | list[str]) -> httpx2.Response:
        """Send a form with `values` in place of what its fields hold."""
        given: dict[str, str | list[str]] = {**form.fields, **values}
        target = urljoin(str(self.page.url), form.action)
        # What a browser sends with a form; Django compares it with the host.
        origin = f"{self.page.url.scheme}://{self.page.url.netloc.decode()}"
        if form.method == "post":
            headers = {"Origin": origin, "Referer": str(self.page.url)}
            return self._arrive(self.http.post(target, data=given, headers=headers))
        return self._arrive(self.http.get(target, params=given))

    def form_with(self, name: str) -> Form:
        """The form that has a field or button of this name. Raises: LookupError, saying what the page is."""
        for form in self.forms():
            if name in form.fields or any(button == name for button, _ in form.buttons):
                return form
        raise LookupError(f"{self.page.url.path} ({self.page.status_code}) has no form with “{name}”")
