"""What tests of the console share: where it is, somebody who may be there, and what a page says."""

from __future__ import annotations

import re
from html import unescape

from metaagent.visitor import Visitor
from tenants import services as tenants
from tests.world import World


def console(world: World, rest: str = "") -> str:
    """The address of one of its pages."""
    return f"{world.product.url}/console/{world.tenant.slug}/{rest}"


def words(html: str) -> str:
    """What a page says, without its tags and in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def told(visitor: Visitor) -> str:
    """What the page says that they are at."""
    return words(visitor.page.text)


def logged_in(world: World, role: str) -> Visitor:
    """A browser of this world's person, who has this role now."""
    tenants.add_member(tenant=world.tenant, user=world.me.user, role=role, by=None)
    visitor = Visitor()
    world.log_in(visitor)
    return visitor
