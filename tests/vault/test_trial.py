"""Every provider of the catalogue against the simulator of what it documents, and `provider_test`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from providers import catalogue
from providers.simulator.samples import samples_of
from providers.spec import ProviderSpec
from vault.services import trial


def spec_of(slug: str) -> ProviderSpec:
    found = catalogue.get(slug)
    assert found is not None
    return found


@pytest.mark.parametrize("slug", catalogue.slugs())
def test_a_provider_of_the_catalogue_holds_against_what_it_documents(slug: str) -> None:
    found = trial.simulated(spec_of(slug))
    assert [each for each in found if each.ok is False] == []
    assert [each.name for each in found if each.ok], "something was tried"


@pytest.mark.parametrize(
    ("slug", "changes", "notices"),
    [
        ("sentry", {"client_auth": "client_secret_basic"}, "connects"),
        ("sentry", {"rotation": False}, "old refresh token"),
        ("sentry", {"subject_fields": ("nothing",)}, "whose account"),
        ("sentry", {"granted_separator": ","}, "connects"),
        ("hubspot", {"granted_path": ("scope",)}, "unticked"),
        ("sentry", {"revoke_style": "bearer"}, "kills tokens"),
        ("sentry", {"dead_grant_errors": frozenset({"another"})}, "grant that is over"),
    ],
)
def test_a_wrong_fact_is_a_finding(slug: str, changes: dict[str, Any], notices: str) -> None:
    spec = spec_of(slug)
    found = trial.simulated(replace(spec, oauth=replace(spec.oauth, **changes)))
    assert any(notices in each.name for each in found if each.ok is False)


@pytest.mark.parametrize("slug", [slug for slug in catalogue.slugs() if samples_of(slug)])
def test_an_answer_that_says_no_is_not_taken_for_data(slug: str) -> None:
    spec = spec_of(slug)
    assert {each.name for each in trial.simulated(spec) if "understood" in each.name} >= {
        "429 with Retry-After is understood",
        "401 for a token that is over is understood",
    }
