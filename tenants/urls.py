"""Logging in and out, one's own account, and invitations."""

from django.urls import include, path

from tenants import account, invitation_pages, views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.login_page, name="login"),
    path("confirm/", views.confirm_page, name="confirm"),
    path("logout/", views.logout_page, name="logout"),
    path("account/", account.account, name="account"),
    path("account/name/", account.rename, name="account_name"),
    path("account/password/", account.password, name="account_password"),
    path("account/sessions/end/", account.end_others, name="account_end_others"),
    path("account/sessions/<slug:key>/end/", account.end, name="account_end"),
    path("invitations/<str:handle>/", invitation_pages.invitation, name="invitation"),
    path("", include("tenants.second.urls")),
]
