"""The authorization server's addresses; the names are those the toolkit looks for."""

from django.urls import path

from tenants.oauth import authorize, registration, views

app_name = "oauth2_provider"
urlpatterns = [
    path(".well-known/oauth-authorization-server", views.metadata, name="oauth-server-metadata"),
    path("o/authorize/", authorize.authorize, name="authorize"),
    path("o/token/", views.token, name="token"),
    path("o/revoke_token/", views.revoke, name="revoke-token"),
    path("o/register/", registration.register, name="dcr-register"),
]
