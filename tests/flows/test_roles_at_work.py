"""What each role comes for, done in a real browser by keyboard alone: on a phone and on a desk, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, expect

from tenants import services as tenants
from tenants.models import Role
from tests.console import console
from tests.environment import MISSING
from tests.sights import DESK, PHONE, Walk, browser, reach
from tests.world import PASSWORD, Person, Served, World

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("chromium" in MISSING, reason=MISSING.get("chromium", "")),
]
_SIGHT = {
    Role.MEMBER: ("light", PHONE),
    Role.AUDITOR: ("dark", DESK),
    Role.ADMIN: ("dark", PHONE),
    Role.OWNER: ("light", DESK),
}


@dataclass
class Office:
    """A tenant with somebody of each role, and one browser for all of them."""

    world: World
    people: dict[Role, Person]
    walk: Walk
    chromium: Browser | None = field(default=None, repr=False)

    @contextmanager
    def sits(self, role: Role, path: str) -> Iterator[Page]:
        """Somebody of this role opens a page, and logs in by keyboard on the way; all they saw is looked at."""
        assert self.chromium
        scheme, width = _SIGHT[role]
        context = self.chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})  # type: ignore[arg-type]  # a literal
        page = context.new_page()
        self.walk.listen(page)
        page.goto(f"{self.world.product.url}{path}")
        page.keyboard.type(self.people[role].user.email)  # the first field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        yield page
        context.close()
        assert not self.walk.wrong, "\n".join(self.walk.wrong)

    def at(self, rest: str) -> str:
        """A page of the console."""
        return f"/console/{self.world.tenant.slug}/{rest}"


@pytest.fixture(scope="module")
def office(product: Served, sandbox: Served) -> Iterator[Office]:
    world = World(product, sandbox)
    people = {role: world.person() for role in Role}
    for role, person in people.items():
        tenants.add_member(tenant=world.tenant, user=person.user, role=role, by=None)
        world.connect(person, email="ada@example.com")
    found = Office(world, people, Walk(product.url))
    with browser() as page:
        found.chromium = page.context.browser
        yield found


def test_a_member_makes_a_key_and_reads_what_was_done_in_their_name(office: Office) -> None:
    with office.sits(Role.MEMBER, "/apps/keys/new/") as page:
        reach(page, page.get_by_label("What it is for"))
        page.keyboard.type("nightly report")
        reach(page, page.get_by_role("button", name="Make the key"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("mak_").first).to_be_visible()
        reach(page, page.get_by_role("link", name="Activity"))
        page.keyboard.press("Enter")
        reach(page, page.get_by_label("What"))
        page.keyboard.press("ArrowDown")
        reach(page, page.get_by_role("button", name="Show"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing like that")).to_be_visible()
        assert page.get_by_role("link", name="Console").count() == 0
        answer = page.goto(console(office.world))
        assert answer is not None
        assert answer.status == 404


def test_an_auditor_finds_an_event_and_whether_the_log_is_whole_and_can_change_nothing(office: Office) -> None:
    with office.sits(Role.AUDITOR, office.at("audit/")) as page:
        reach(page, page.locator("summary", has_text="Filter by"))
        page.keyboard.press("Enter")
        reach(page, page.get_by_label("About"))
        page.keyboard.type("login")
        reach(page, page.get_by_role("button", name="Show"))
        page.keyboard.press("Enter")
        page.wait_for_url("**subject=login**")
        first = page.locator("tbody a").first
        reach(page, first)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Logged in with a password")).to_be_visible()
        page.goto(console(office.world, "audit/"))
        reach(page, page.get_by_role("link", name="Is it whole?"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Is the audit log whole?")).to_be_visible()
        for rest in ("policies/", "members/", "providers/sentry/", "connections/", "clients/", "keys/", "settings/"):
            page.goto(console(office.world, rest))
            forms = page.locator("main form[method=post]")
            assert forms.count() == 0, rest


def test_an_administrator_sets_a_budget_and_asks_on_the_page(office: Office) -> None:
    with office.sits(Role.ADMIN, office.at("policies/")) as page:
        reach(page, page.get_by_role("group", name="Each person").get_by_label("Tool calls"))
        page.keyboard.type("5000")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
        reach(page, page.get_by_role("link", name="Try it"))
        page.keyboard.press("Enter")
        reach(page, page.get_by_label("Question"))
        page.keyboard.type("who am I?")
        reach(page, page.get_by_role("button", name="Ask"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Answer")).to_be_visible(timeout=20_000)
        expect(page.get_by_text("Asking. This takes")).to_be_hidden()
        office.walk.look(page, "an answer")


def test_an_owner_invites_somebody_and_gives_another_role(office: Office) -> None:
    with office.sits(Role.OWNER, office.at("members/")) as page:
        reach(page, page.get_by_role("link", name="Invite somebody"))
        page.keyboard.press("Enter")
        reach(page, page.get_by_label("Their e-mail"))
        page.keyboard.type("somebody@example.com")
        reach(page, page.get_by_role("radio", name="Member"))
        page.keyboard.press("ArrowDown")
        reach(page, page.get_by_role("button", name="Make the link"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("/invitation/").or_(page.locator("input[readonly]")).first).to_be_visible()
        page.goto(console(office.world, "members/"))
        auditor = office.people[Role.AUDITOR].user.email
        reach(page, page.locator("tr", has_text=auditor).get_by_role("link").first)
        page.keyboard.press("Enter")
        reach(page, page.get_by_role("radio", name="Auditor"))
        page.keyboard.press("ArrowUp")
        reach(page, page.get_by_role("button", name="Save"))
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"{auditor} is member from now on.")).to_be_visible()
