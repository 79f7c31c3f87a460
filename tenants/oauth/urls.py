"""The authorization server's addresses, under the names the toolkit looks for, and the page of connected apps."""

from django.urls import path

from tenants.oauth import apps_page, authorize, registration, views

app_name = "oauth2_provider"
urlpatterns = [
    path(".well-known/oauth-authorization-server", views.metadata, name="oauth-server-metadata"),
    path("o/authorize/", authorize.authorize, name="authorize"),
    path("o/token/", views.token, name="token"),
    path("o/revoke_token/", views.revoke, name="revoke-token"),
    path("o/register/", registration.register, name="dcr-register"),
    path("apps/", apps_page.apps, name="apps"),
    path("apps/<uuid:grant_id>/end/", apps_page.end_grant, name="end_grant"),
    path("apps/keys/new/", apps_page.new_key, name="new_key"),
    path("apps/keys/<uuid:key_id>/end/", apps_page.end_key, name="end_key"),
]
