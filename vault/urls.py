"""Where people connect, answer what they are asked, and disconnect."""

from django.urls import path

from vault import leave_page, views

urlpatterns = [
    path("connections/", views.connections, name="connections"),
    path("connections/<uuid:connection_id>/", views.connection, name="connection"),
    path("connections/<uuid:connection_id>/disconnect/", views.disconnect, name="disconnect"),
    path("connections/<uuid:connection_id>/rename/", views.rename, name="rename"),
    path("connections/<uuid:connection_id>/default/", views.default, name="default"),
    path("account/memberships/<uuid:membership_id>/leave/", leave_page.leave, name="leave"),
    path("connect/<str:slug>/", views.connect_page, name="connect"),
    path("go/", views.go_page, name="go"),
    path("consent/<uuid:consent_id>/", views.consent_page, name="consent"),
    path("consent/<uuid:consent_id>/withdraw/", views.consent_withdraw, name="consent_withdraw"),
    path("approve/<uuid:approval_id>/", views.approve_page, name="approve"),
    path("approve/<uuid:approval_id>/withdraw/", views.approve_withdraw, name="approve_withdraw"),
    path("oauth/client/<uuid:installation_id>/", views.client_document, name="oauth_client"),
    path("oauth/callback/<uuid:installation_id>/", views.callback, name="oauth_callback"),
]
