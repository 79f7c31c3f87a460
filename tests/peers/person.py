"""The person at the browser: one member of a tenant, logged in, who connects Sentry and disconnects it again."""

from __future__ import annotations

from collections.abc import Callable

from metaagent.visitor import Form, Visitor
from tests.peers.place import hold


class Person:
    """Opens links and presses buttons, as a `Visitor` who stays logged in."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._url = url
        self._browser = Visitor()
        self._browser.open(f"{url}/login/")
        self._browser.send(self._browser.form_with("password"), email=email, password=password)

    def connect(self, link: str, approve: Callable[[Visitor], None]) -> None:
        """From a client's link to “connected”; `approve` is what the person does at the provider. Raises: Wrong."""
        browser = self._browser
        browser.open(link)
        hold(browser.page.status_code == 200, f"the connect page answered {browser.page.status_code}")
        browser.send(next(form for form in self._forms("/connect/") if form.method == "post"))
        approve(browser)
        where = f"{browser.page.url.copy_with(query=None)} ({browser.page.status_code})"
        back = str(browser.page.url).startswith(f"{self._url}/oauth/callback/")
        hold(back and browser.page.status_code == 200, f"the way back from the provider ended at {where}")

    def disconnect(self) -> None:
        """End every connection on the connections page. Raises: Wrong."""
        self._browser.open(f"{self._url}/connections/")
        for form in self._forms("/disconnect/"):
            self._browser.send(form)
            hold(self._browser.page.status_code == 200, "the connections page did not disconnect")

    def _forms(self, part: str) -> list[Form]:
        """The page's forms that lead to such an address; one without an address leads to the page itself."""
        return [form for form in self._browser.forms() if part in (form.action or str(self._browser.page.url))]


def approve_in_the_sandbox(browser: Visitor) -> None:
    """Log in there, unless still logged in, as the person the page offers first, and allow everything asked for."""
    if any("password" in form.fields for form in browser.forms()):
        browser.send(browser.form_with("password"))
    browser.send(browser.form_with("pending"), op="approve")


def approve_at_oidc_provider(browser: Visitor) -> None:
    """Log in and consent on oidc-provider's own pages."""
    browser.send(browser.form_with("login"), login="ada", password="any")
    browser.send(browser.form_with("prompt"))
