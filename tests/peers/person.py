"""The person at the browser: one member of a tenant, who lets clients in, connects Sentry and disconnects it again."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx2

from metaagent.visitor import Form, Visitor
from tests.peers.place import hold

_LISTENING_S = 20


class Person:
    """Opens links and presses buttons, as a `Visitor` who logs in where they are asked to."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._url = url
        self._email = email
        self._password = password
        self._browser = Visitor()

    def let_in(self, link: str) -> None:
        """From a client's authorization link to its own page. Raises: Wrong."""
        hold(link.startswith(f"{self._url}/o/authorize/?"), f"the client opened {link.partition('?')[0]}")
        redirect = urlsplit(parse_qs(urlsplit(link).query)["redirect_uri"][0])
        browser = self._open(link)
        allow = browser.form_with("answer")
        _await(redirect.hostname or "", redirect.port or 0)
        browser.send(allow, answer="allow")
        page = browser.page
        back = (page.url.host, page.url.port) == (redirect.hostname, redirect.port)
        hold(back and page.is_success, f"after “Allow” the browser ended at {_where(page)}")

    def connect(self, link: str, approve: Callable[[Visitor], None]) -> None:
        """From a client's link to “connected”; `approve` is what the person does at the provider. Raises: Wrong."""
        browser = self._open(link)
        browser.send(next(form for form in self._forms("/connect/") if form.method == "post"))
        approve(browser)
        back = str(browser.page.url).startswith(f"{self._url}/oauth/callback/")
        hold(back and browser.page.is_success, f"the way back from the provider ended at {_where(browser.page)}")

    def disconnect(self) -> None:
        """End every connection on the connections page. Raises: Wrong."""
        self._open(f"{self._url}/connections/")
        for form in self._forms("/disconnect/"):
            self._browser.send(form)
            hold(self._browser.page.status_code == 200, "the connections page did not disconnect")

    def _open(self, url: str) -> Visitor:
        self._browser.open(url)
        if self._browser.page.url.path == "/login/":
            self._browser.send(self._browser.form_with("password"), email=self._email, password=self._password)
        hold(self._browser.page.status_code == 200, f"opening a link ended at {_where(self._browser.page)}")
        return self._browser

    def _forms(self, part: str) -> list[Form]:
        """The page's forms that lead to such an address; one without an address leads to the page itself."""
        return [form for form in self._browser.forms() if part in (form.action or str(self._browser.page.url))]


def _where(page: httpx2.Response) -> str:
    return f"{page.url.copy_with(query=None)} ({page.status_code})"


def _await(host: str, port: int) -> None:
    """Some clients open the browser first, and listen for its answer a moment later. Raises: Wrong."""
    deadline = time.monotonic() + _LISTENING_S
    while True:
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            hold(time.monotonic() < deadline, f"the client does not listen at {host}:{port}")
            time.sleep(0.05)
        else:
            return


def approve_in_the_sandbox(browser: Visitor) -> None:
    """Log in there, unless still logged in, as the person the page offers first, and allow everything asked for."""
    if any("password" in form.fields for form in browser.forms()):
        browser.send(browser.form_with("password"))
    browser.send(browser.form_with("pending"), op="approve")


def approve_at_oidc_provider(browser: Visitor) -> None:
    """Log in and consent on oidc-provider's own pages."""
    browser.send(browser.form_with("login"), login="ada", password="any")
    browser.send(browser.form_with("prompt"))
