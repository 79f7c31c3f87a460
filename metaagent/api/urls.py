"""Where REST is."""

from django.urls import URLPattern, URLResolver, include, path, register_converter

from metaagent.api import figures, log, pages
from providers import api as providers
from tenants.api import keys as client_keys
from tenants.api import people
from tenants.api.operations import Nothing
from vault.api import connections, installations
from vault.api import keys as data_keys
from vault.api import people as allowed


class AnythingConverter:
    """Also what no other converter takes."""

    regex = r"[\s\S]*"

    def to_python(self, value: str) -> str:
        """As it stands."""
        return value

    to_url = to_python


register_converter(AnythingConverter, "anything")

_of_an_installation: list[URLPattern] = [
    path("", installations.InstallationItem.as_view()),
    path("manifest/", providers.ManifestItem.as_view()),
    path("manifest/choices/", providers.ChoicesItem.as_view()),
    path("review/", installations.ReviewItem.as_view()),
    path("health/", figures.HealthItem.as_view()),
]

_of_a_tenant: list[URLPattern | URLResolver] = [
    path("", people.TenantItem.as_view()),
    path("members/", people.MemberList.as_view()),
    path("members/<uuid:id>/", allowed.MemberItem.as_view()),
    path("invitations/", people.InvitationList.as_view()),
    path("invitations/<uuid:id>/", people.InvitationItem.as_view()),
    path("installations/", installations.InstallationList.as_view()),
    path("installations/<slug:slug>/", include(_of_an_installation)),
    path("connections/", connections.ConnectionList.as_view()),
    path("connections/<uuid:id>/", connections.ConnectionItem.as_view()),
    path("consents/", allowed.ConsentList.as_view()),
    path("consents/<uuid:id>/", allowed.ConsentItem.as_view()),
    path("approvals/", allowed.ApprovalList.as_view()),
    path("approvals/<uuid:id>/", allowed.ApprovalItem.as_view()),
    path("keys/", client_keys.KeyList.as_view()),
    path("keys/<uuid:id>/", client_keys.KeyItem.as_view()),
    path("vault/keys/", data_keys.DataKeyList.as_view()),
    path("vault/rotations/", data_keys.RotationItem.as_view()),
    path("audit/events/", log.EventList.as_view()),
    path("audit/events/<int:seq>/", log.EventItem.as_view()),
    path("audit/verification/", log.VerificationItem.as_view()),
    path("usage/", figures.UsageItem.as_view()),
    path("usage/today/", figures.TodayItem.as_view()),
]

urlpatterns = [
    path("", pages.page, name="api"),
    path("schema/", pages.schema, name="api_schema"),
    path("v1/tenants/", people.TenantList.as_view()),
    path("v1/tenants/<slug:tenant>/", include(_of_a_tenant)),
    path("<anything:rest>", Nothing.as_view(), name="api_nothing"),
]
