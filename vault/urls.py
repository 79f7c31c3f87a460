"""Where people connect and disconnect."""

from django.urls import path

from vault import views

urlpatterns = [
    path("connections/", views.connections, name="connections"),
    path("connections/<uuid:connection_id>/disconnect/", views.disconnect, name="disconnect"),
    path("connect/<str:slug>/", views.connect_page, name="connect"),
    path("oauth/callback/<uuid:installation_id>/", views.callback, name="oauth_callback"),
]
