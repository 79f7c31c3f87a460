"""Logging in and out."""

from django.urls import path

from tenants import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.login_page, name="login"),
    path("confirm/", views.confirm_page, name="confirm"),
    path("logout/", views.logout_page, name="logout"),
]
