"""The authorization server's own part: codes, tokens, refreshing, and what each of them is refused for."""

from __future__ import annotations

from tenants.oauth.models import Client
from tests.oauth import REDIRECT, OAuthClient
from tests.world import World


def known(world: World) -> OAuthClient:
    row = Client.objects.create(
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris=REDIRECT,
        name="A test",
        registration_source="dcr",
    )
    return OAuthClient(world, client_id=row.client_id)


def test_a_person_lets_a_client_in_and_it_calls(world: World) -> None:
    client = known(world)
    given = client.signed_in()
    assert given["token_type"] == "Bearer" and given["scope"] == "mcp", given
    error = world.error("who am I?", key=given["access_token"])
    assert error["code"] == "needs_auth"
    again = client.refresh(given["refresh_token"])
    assert again.status_code == 200, again.text
    assert world.error("who am I?", key=again.json()["access_token"])["code"] == "needs_auth"
