"""The addresses of the second factor and of single sign-on. Of allauth's own, what is not named here does not exist.

The names are allauth's, which looks for them. What shows or changes a factor wants a recent password.
"""

from django.urls import path

from tenants import account, single, views
from tenants.access import recently
from tenants.second import pages

_HERE = "account/second/"

urlpatterns = [
    path("login/", views.login_page, name="account_login"),
    path("login/single/", single.begin, name="single"),
    path("login/single/callback/", single.callback, name="single_callback"),
    path("account/", account.account, name="mfa_index"),
    path(f"{_HERE}enter/", pages.Enter.as_view(), name="mfa_authenticate"),
    path(f"{_HERE}app/", recently(pages.App.as_view()), name="mfa_activate_totp"),
    path(f"{_HERE}app/off/", recently(pages.AppOff.as_view()), name="mfa_deactivate_totp"),
    path(f"{_HERE}codes/", recently(pages.Codes.as_view()), name="mfa_view_recovery_codes"),
    path(f"{_HERE}codes/anew/", recently(pages.CodesAnew.as_view()), name="mfa_generate_recovery_codes"),
    path(f"{_HERE}passkeys/add/", recently(pages.PasskeyAdd.as_view()), name="mfa_add_webauthn"),
    path(f"{_HERE}passkeys/<int:pk>/remove/", recently(pages.PasskeyRemove.as_view()), name="mfa_remove_webauthn"),
    path(f"{_HERE}passkeys/login/", pages.PasskeyLogin.as_view(), name="mfa_login_webauthn"),
]
