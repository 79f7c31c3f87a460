"""The Django project. Every value a deployment may change comes from the environment (see docs/deploying.md)."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from metaagent import environment as env

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var")))

DEBUG = env.flag("DEBUG")


def _secret_key() -> str:
    """From the environment; in DEBUG a file of our own making will do."""
    if given := env.text("SECRET_KEY"):
        return given
    if not DEBUG:
        raise ImproperlyConfigured("SECRET_KEY is missing. Set it to at least 50 random characters.")
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        # Written aside and linked: of several processes that start together all get the one key, whole.
        aside = path.with_name(f"secret_key.{secrets.token_hex(8)}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_urlsafe(64))
        with suppress(FileExistsError):
            path.hardlink_to(aside)
        aside.unlink()
    return path.read_text(encoding="utf-8").strip()


def _weak(secret: str) -> bool:
    """By Django's own measure."""
    return len(secret) < 50 or len(set(secret)) < 10 or secret.startswith("django-insecure")  # noqa: PLR2004 - see above


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
"""Former keys, while what they signed is still about: sessions, password links, `requestState`."""
for _name, _secret in [("SECRET_KEY", SECRET_KEY), *(("SECRET_KEY_FALLBACKS", old) for old in SECRET_KEY_FALLBACKS)]:
    if not DEBUG and _weak(_secret):
        raise ImproperlyConfigured(f"{_name} is weak. Set it to at least 50 random characters.")

PUBLIC_URL = env.text("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
_public = urlsplit(PUBLIC_URL)
if _public.scheme not in {"http", "https"} or not _public.netloc or _public.path or _public.query:
    raise ImproperlyConfigured("PUBLIC_URL must be an origin such as https://agents.example.com.")
if not DEBUG and _public.scheme != "https" and _public.hostname not in {"127.0.0.1", "localhost", "::1"}:
    raise ImproperlyConfigured("PUBLIC_URL must be https outside this machine.")
HTTPS = _public.scheme == "https"

ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or [_public.hostname or ""]
if "*" in ALLOWED_HOSTS and not DEBUG:
    raise ImproperlyConfigured("ALLOWED_HOSTS=* lets anyone pose as this server. Name the hosts.")
ALLOWED_ORIGINS = [PUBLIC_URL, *env.words("ALLOWED_ORIGINS")]
"""Browser origins that may call /mcp, exactly as browsers send them."""

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "django.contrib.admin.apps.SimpleAdminConfig",  # looks for nothing: see metaagent/operators.py
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "rest_framework",
    "drf_spectacular",
    "oauth2_provider",
    "audit",
    "tenants",
    "tenants.oauth",
    "providers",
    "vault",
    "metaagent",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "metaagent.static.StaticFiles",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # lets its adapters know the request
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tenants.middleware.legible",
    "tenants.middleware.no_store",
    "tenants.middleware.seen",
]

ROOT_URLCONF = "metaagent.urls"
ASGI_APPLICATION = "metaagent.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenants.access.consoles",
            ],
        },
    },
]

# --- Storage

DATABASES = {
    "default": dj_database_url.parse(env.text("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'metaagent.sqlite3'}"),
}
_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    # A writer takes the lock when its transaction begins, and waits for it: no "database is locked" in mid-transaction.
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
elif _database["ENGINE"].endswith("postgresql"):
    # A pool: under ASGI every request has a thread of its own, so a connection per thread would never be used again.
    # After a second the next caller connects anew: else the pool's pauses double, and long after the database is back
    # a process that holds new tokens could still not store them.
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),
        "pool": {
            "min_size": 1,
            "max_size": env.number("DATABASE_CONNECTIONS", 20, least=4),
            "timeout": 10,
            "reconnect_timeout": 1,
        },
    }
else:
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL or SQLite database.")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL")
CACHES = {
    "default": {"BACKEND": "metaagent.cache.RedisOrLocal", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}},
}

# --- People

AUTH_USER_MODEL = "tenants.User"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/connections/"
LOGOUT_REDIRECT_URL = "/login/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_FAILURES_PER_HOUR = env.number("LOGIN_FAILURES_PER_HOUR", 10, least=1)
"""Failed log-ins per address and per e-mail before a pause."""

CONFIRM_S = env.number("CONFIRM_S", 600, least=60, most=86_400)
"""How long a password that was just said counts for what wants a recent one."""
INVITATION_DAYS = env.number("INVITATION_DAYS", 7, least=1, most=30)
"""How long an invitation may wait for whom it is for."""

# The second factor and single sign-on (tenants/second, tenants/single). Of allauth only what is named there has an
# address, and nothing in it makes people or sends e-mail.
ACCOUNT_ADAPTER = "tenants.second.door.Door"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = {"login_failed": f"{LOGIN_FAILURES_PER_HOUR}/h/key"}  # wrong codes, for each person
SOCIALACCOUNT_ADAPTER = "tenants.single.SingleSignOn"
SOCIALACCOUNT_STORE_TOKENS = False
OIDC_ISSUER = env.text("OIDC_ISSUER")
"""The OpenID Connect issuer people may log in with, exactly as it names itself; empty: none."""
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
"""What the button says: Log in with …"""
OIDC_CREATE_USERS = env.flag("OIDC_CREATE_USERS")
"""Whether whoever the issuer knows becomes a person here, in no tenant, or has to be one already."""
_issuer = urlsplit(OIDC_ISSUER)
_near = _issuer.hostname in {"127.0.0.1", "localhost"} and _issuer.scheme == "http"
if OIDC_ISSUER and not (_near or (_issuer.scheme == "https" and _issuer.hostname)):
    raise ImproperlyConfigured("OIDC_ISSUER must be an https URL.")
if OIDC_ISSUER and (len(OIDC_ISSUER) > 200 or _issuer.query or _issuer.fragment or not OIDC_CLIENT_ID):  # noqa: PLR2004 - allauth's column
    raise ImproperlyConfigured("OIDC_ISSUER must be at most 200 characters without a query, and needs OIDC_CLIENT_ID.")
MFA_ADAPTER = "tenants.second.factors.Factors"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "metaagent"
MFA_TOTP_TOLERANCE = 1  # clocks differ by some seconds; `tenants.second.forms` sees to it that a code counts once
MFA_FORMS = {
    "authenticate": "tenants.second.forms.Code",
    "reauthenticate": "tenants.second.forms.CodeAgain",
}

# --- The authorization server for MCP clients (tenants/oauth)

MCP_SCOPES = {
    "mcp": "Ask the connected providers in your name",
    "offline_access": "Stay signed in without asking you again",
}
MCP_EXPORTS = "vault.selectors.exports_of"
"""Which providers a person may see in a tenant; the authorization server is a layer below those who know."""
NATIVE_SCHEMES = env.words("NATIVE_SCHEMES", "cursor vscode vscode-insiders windsurf claude")
"""Programs on people's machines that browsers may be sent to by a scheme of their own."""
CLIENT_METADATA_HOSTS = env.words("CLIENT_METADATA_HOSTS", "*")
"""Hosts whose documents may introduce a client (Client ID Metadata Documents), `.example.com` with all below it; `*` is
any public one, `none` switches off."""
CLIENT_GRANT_DAYS = env.number("CLIENT_GRANT_DAYS", 30, least=1, most=366)
"""How long a client may act after a person's approval, however often it refreshes."""
CLIENT_TOKEN_S = env.number("CLIENT_TOKEN_S", 900, least=60, most=3_600)
CLIENT_CODE_S = env.number("CLIENT_CODE_S", 60, least=10, most=60)
CLIENT_REFRESH_GRACE_S = env.number("CLIENT_REFRESH_GRACE_S", 30, most=60)
"""How long a client whose answer was lost may present the same refresh token again."""
CLIENT_REGISTRATIONS_PER_HOUR = env.number("CLIENT_REGISTRATIONS_PER_HOUR", 60)
"""Per address; 0 switches registration off."""
CLIENT_REGISTRATIONS_PER_MINUTE = env.number("CLIENT_REGISTRATIONS_PER_MINUTE", 120, least=1)
"""From everywhere together."""
CLIENTS_UNUSED = env.number("CLIENTS_UNUSED", 2_000, least=10)
"""How many registered clients may wait for their first approval; the oldest go first."""

OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth.Client"
OAUTH2_PROVIDER_GRANT_MODEL = "oauth.Code"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "oauth.AccessToken"  # noqa: S105 - the name of a model
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "oauth.RefreshToken"  # noqa: S105 - the name of a model
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "oauth.IDToken"  # noqa: S105 - the name of a model
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "oauth.DeviceGrant"
MIGRATION_MODULES = {"oauth2_provider": None}
"""All of its models are replaced: its 22 migrations would change no table, and take two thirds of a fresh `migrate`."""
OAUTH2_PROVIDER = {
    "SCOPES": MCP_SCOPES,
    "DEFAULT_SCOPES": ["mcp"],
    "OIDC_ISS_ENDPOINT": PUBLIC_URL,
    "OAUTH2_SERVER_CLASS": "oauthlib.oauth2.WebApplicationServer",  # code and refresh, nothing else
    "OAUTH2_VALIDATOR_CLASS": "tenants.oauth.validator.Validator",
    "ACCESS_TOKEN_GENERATOR": "tenants.oauth.tokens.new_access",
    "REFRESH_TOKEN_GENERATOR": "tenants.oauth.tokens.new_refresh",
    "ACCESS_TOKEN_EXPIRE_SECONDS": CLIENT_TOKEN_S,
    "REFRESH_TOKEN_EXPIRE_SECONDS": CLIENT_GRANT_DAYS * 86_400,
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": CLIENT_CODE_S,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "PKCE_REQUIRED": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https", "http", *NATIVE_SCHEMES],
    "ALLOW_LOCALHOST_LOOPBACK": True,
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": ["authorization_code", "refresh_token"],
    "OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": ["none", "client_secret_basic", "client_secret_post"],
    "DCR_ENABLED": CLIENT_REGISTRATIONS_PER_HOUR > 0,  # advertised; the view is ours
    "CIMD_ENABLED": CLIENT_METADATA_HOSTS != ["none"],
    "CIMD_METADATA_FETCHER": "metaagent.documents.Fetcher",
    "CIMD_REGISTRATION_PERMISSION_CLASSES": ["tenants.oauth.registration.Hosts"],
    **{
        f"COMPLIANT_BCP_RFC9700_{rule}": True
        for rule in (
            *("IMPLICIT_GRANT", "PASSWORD_GRANT", "PKCE_METHOD", "ACCESS_TOKEN_TRANSPORT", "AUTHZ_RESPONSE_ISS"),
            *("TOKEN_STORAGE", "REFRESH_TOKEN", "REDIRECT_URI_MATCHING", "PKCE_REQUIRED"),
        )
    },
}

# --- Browser security (docs/security.md)

# `__Host-` ties a cookie to exactly this host over https; browsers refuse the prefix on plain http.
_prefix = "__Host-" if HTTPS else ""
SESSION_ENGINE = "tenants.sessions"
SESSION_COOKIE_NAME = f"{_prefix}session"
CSRF_COOKIE_NAME = f"{_prefix}csrf"
CONNECT_COOKIE_NAME = f"{_prefix}connect"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.number("SESSION_DAYS", 14, least=1) * 86_400
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
CSRF_FAILURE_VIEW = "tenants.views.csrf_failure"
BODY_BYTES = env.number("BODY_BYTES", 1_048_576, least=65_536, most=16_777_216)
HEADER_BYTES = env.number("HEADER_BYTES", 65_536, least=8_192, most=1_048_576)
"""What a request for a page or to REST may be large; /mcp has `MCP_BODY_BYTES`."""
LIVE = env.number("LIVE", 500, least=1)
"""Pages that one process tells when they have changed."""
LIVE_PER_PERSON = env.number("LIVE_PER_PERSON", 8, least=1)
LIVE_IDLE_S = env.number("LIVE_IDLE_S", 900, least=10, most=3_600)
"""How long a page on which nothing changes is kept in touch with; looked at again, it gets in touch again."""
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("BEHIND_PROXY") else None
SECURE_SSL_REDIRECT = False  # the proxy's job; /healthz answers on plain http inside a cluster
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # see SECURE_SSL_REDIRECT
    "oauth2_provider.W008",  # http is for programs on the same machine: tenants/oauth/policy.py takes it nowhere else
]
SECURE_HSTS_SECONDS = env.number("HSTS_SECONDS", 31_536_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# --- Language and time

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

# --- Vault

VAULT_KEK = env.text("VAULT_KEK") or f"local:{VAR_DIR / 'vault.key'}"
VAULT_KEK_OLD = env.words("VAULT_KEK_OLD")
"""Keys that only unwrap what they once wrapped, until `vault_rewrap` has moved it."""
VAULT_ADDR = env.text("VAULT_ADDR")
VAULT_NAMESPACE = env.text("VAULT_NAMESPACE")
VAULT_CACERT = env.text("VAULT_CACERT")
"""HashiCorp Vault's, named as its own client names them; the token is read from VAULT_TOKEN when it is needed."""
GCP_KMS_ENDPOINT = env.text("GCP_KMS_ENDPOINT", "https://cloudkms.googleapis.com")
CONNECT_LINK_S = env.number("CONNECT_LINK_S", 600, least=30, most=600)
"""How long a connect link and an OAuth round trip may take."""
CONSENT_ANSWER_S = env.number("CONSENT_ANSWER_S", 600, least=30, most=600)
"""How long a person may take to answer a consent question, and how long a consent to one ask waits for that ask."""
CONSENT_DAYS = env.number("CONSENT_DAYS", 90, least=1, most=366)
"""How long a standing consent stands."""
APPROVAL_ANSWER_S = env.number("APPROVAL_ANSWER_S", 600, least=30, most=600)
"""How long a person may take to approve one call, and how long the approval then waits for that call."""
DATA_KEY_CACHE_S = env.number("DATA_KEY_CACHE_S", 300, most=300)

# --- The audit log

AUDIT_CHECKPOINT_DIR = env.text("AUDIT_CHECKPOINT_DIR")
"""A folder that whoever may change the database cannot write to: checkpoints of the log are kept there too."""
AUDIT_PUBLIC_KEYS = env.words("AUDIT_PUBLIC_KEYS")
"""Public keys of former SECRET_KEYs, as the console shows them, for as long as what they signed is to be checked."""
AUDIT_SEAL_EVERY_S = env.number("AUDIT_SEAL_EVERY_S", 60, least=1, most=3_600)
"""How often what was recorded is sealed."""

# --- REST

API_REQUESTS_PER_MINUTE = env.number("API_REQUESTS_PER_MINUTE", 120, least=1)
"""Per client key."""
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.api.callers.ClientKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["tenants.api.callers.PerKey"],
    "DEFAULT_THROTTLE_RATES": {"key": f"{API_REQUESTS_PER_MINUTE}/min"},
    "DEFAULT_PARSER_CLASSES": ["tenants.api.bodies.StrictJson"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "tenants.problems.problem",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "metaagent.api.document.Described",
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "metaagent",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SORT_OPERATIONS": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "metaagent.api.document.introduced",
    ],
    "ENUM_NAME_OVERRIDES": {
        "Role": "tenants.models.Role",
        "ConnectionStatus": "vault.models.Status",
        "Source": "providers.models.Installation.Source",
        "Exposure": "providers.models.Installation.ExposureChoice",
        "ConsentPolicy": "providers.models.Installation.ConsentChoice",
        "Effect": "providers.api.EFFECTS",
        "Access": "providers.api.ACCESS",
    },
}
"""Of the document at /api/schema/; what is said there stands in `metaagent/api/document.py`."""

# --- Agent and endpoint limits

MCP_BODY_BYTES = env.number("MCP_BODY_BYTES", 1_048_576, least=1_024)
STANDING_CACHE_MS = env.number("STANDING_CACHE_MS", 1_000, most=1_000)
"""How long a change of rights made by another process may go unnoticed."""
STANDING_KEPT_S = env.number("STANDING_KEPT_S", 60, most=300)
"""How long bearers, memberships and connections are remembered while no rights change."""
ASKS_PER_MINUTE = env.number("ASKS_PER_MINUTE", 120, least=1, most=10_000_000)
"""Per user and installation."""
ASKS_PER_MINUTE_TENANT = env.number("ASKS_PER_MINUTE_TENANT", 1_200, least=1, most=10_000_000)
ASKS_AT_ONCE = env.number("ASKS_AT_ONCE", 256, least=1)
"""Per process; more are answered `overloaded`."""
TOOL_CALLS_PER_ASK = env.number("TOOL_CALLS_PER_ASK", 24, least=1)
ASK_DEADLINE_S = env.number("ASK_DEADLINE_S", 35, least=1, most=600)
ANSWER_TOKENS = env.number("ANSWER_TOKENS", 800, least=100, most=8_000)
RESULT_TTL_S = env.number("RESULT_TTL_S", 3_600, least=60)
RESULT_STORE_BYTES = env.number("RESULT_STORE_BYTES", 16_777_216, least=1_048_576)
"""Memory for full results when there is no Redis."""
RESULT_PAGE_BYTES = env.number("RESULT_PAGE_BYTES", 65_536, least=1_024, most=1_048_576)
"""How much of a full result one `resources/read` gives."""
LISTENING = env.number("LISTENING", 500, least=1)
"""Streams of `subscriptions/listen` that one process keeps open."""
LISTENING_PER_CLIENT = env.number("LISTENING_PER_CLIENT", 4, least=1)
"""Of these, for one client of one person."""
CONNECT_WAIT_S = env.number("CONNECT_WAIT_S", 20, most=25)
"""How long a client's retry waits for a connection that is being made (MCP elicitation)."""

# --- The model

ANTHROPIC_API_KEY = env.text("ANTHROPIC_API_KEY")
ANTHROPIC_BASE_URL = env.text("ANTHROPIC_BASE_URL")
"""Any server that speaks the Messages API. With neither of the two there is no model: docs/agent.md says what works."""
AGENT_MODEL = env.text("AGENT_MODEL", "claude-sonnet-5-5")
"""Writes answers, when results have to be put together."""
AGENT_SMALL_MODEL = env.text("AGENT_SMALL_MODEL", "claude-haiku-5-5")
"""Chooses tools."""
MODEL_TURN_S = env.number("MODEL_TURN_S", 15, least=1, most=600)
"""How long one turn of a model may take; then the answer goes without it."""
MODEL_PRICES = env.text("MODEL_PRICES")
"""A file of prices in the form of metaagent/llm/prices.toml, which is used without one."""
RESULT_CACHE_S = env.number("RESULT_CACHE_S", 30, most=3_600)
"""How long what a read found may be given again at most; each tool has a limit of its own. 0 switches it off."""

# --- Budgets: of one ask, and of a day (UTC) for each person in a tenant and for the tenant as a whole; 0 is no limit.
# One ask's tool calls and seconds are TOOL_CALLS_PER_ASK and ASK_DEADLINE_S. Money is in micro-dollars, by the file of
# prices; what has no price there is limited by tokens alone.

_VAST = 10**15
ASK_MODEL_TURNS = env.number("ASK_MODEL_TURNS", 6, least=1)
ASK_TOKENS = env.number("ASK_TOKENS", 60_000)
ASK_MICROS = env.number("ASK_MICROS", 200_000)
USER_DAY_TURNS = env.number("USER_DAY_TURNS", 0)
USER_DAY_CALLS = env.number("USER_DAY_CALLS", 0)
USER_DAY_TOKENS = env.number("USER_DAY_TOKENS", 5_000_000, most=_VAST)
USER_DAY_MICROS = env.number("USER_DAY_MICROS", 5_000_000, most=_VAST)
USER_DAY_SECONDS = env.number("USER_DAY_SECONDS", 0)
"""Time in which asks are worked. Of calls and time an ask reserves all that it may take: with less in a day than
TOOL_CALLS_PER_ASK and ASK_DEADLINE_S there are no asks."""
TENANT_DAY_TURNS = env.number("TENANT_DAY_TURNS", 0)
TENANT_DAY_CALLS = env.number("TENANT_DAY_CALLS", 0)
TENANT_DAY_TOKENS = env.number("TENANT_DAY_TOKENS", 100_000_000, most=_VAST)
TENANT_DAY_MICROS = env.number("TENANT_DAY_MICROS", 100_000_000, most=_VAST)
TENANT_DAY_SECONDS = env.number("TENANT_DAY_SECONDS", 0)
DAY_USE_KEPT_DAYS = env.number("DAY_USE_KEPT_DAYS", 400, least=1, most=4_000)
"""For how long it is kept what was used on a day."""

# --- Calls to providers

PROVIDER_CALLS_PER_MINUTE = env.number("PROVIDER_CALLS_PER_MINUTE", 600, least=1, most=10_000_000)
"""Per installation and account, over all processes when there is Redis."""
PROVIDER_CALLS_PER_MINUTE_TENANT = env.number("PROVIDER_CALLS_PER_MINUTE_TENANT", 36_000, least=1, most=10_000_000)
PROVIDER_CALLS_AT_ONCE = env.number("PROVIDER_CALLS_AT_ONCE", 48, least=1)
"""Per installation and process. Below the 64 connections to one host that all tenants share."""
PROVIDER_CALLS_AT_ONCE_ACCOUNT = env.number("PROVIDER_CALLS_AT_ONCE_ACCOUNT", 16, least=1)
BREAKER_FAILURES = env.number("BREAKER_FAILURES", 8, least=1, most=1_000)
"""So many calls of an installation fail in a row before its provider is left alone."""
BREAKER_PAUSE_S = env.number("BREAKER_PAUSE_S", 5, least=1, most=60)
"""How often it is tried then, by one call."""
LIMITS_WITHOUT_REDIS_PERCENT = env.number("LIMITS_WITHOUT_REDIS_PERCENT", 50, least=1, most=100)
"""What each process takes of these rates while the Redis that they are shared in is lost."""

# --- Background work

CELERY_BROKER_URL = env.text("CELERY_BROKER_URL") or "memory://localhost"
BACKGROUND = env.flag("BACKGROUND", default=True) and not env.text("CELERY_BROKER_URL")
"""Whether the web process does the background work itself. With a broker, workers of their own do it."""
SWEEP_EVERY_S = env.number("SWEEP_EVERY_S", 10, least=1, most=3_600)
"""How often tokens that are to be revoked are looked for."""
MANIFEST_EVERY_S = env.number("MANIFEST_EVERY_S", 21_600, least=60)
"""How often, at most, a provider is asked which tools it has now. What has changed waits for an administrator."""
CELERY_IMPORTS = ["audit.tasks", "vault.tasks", "tenants.oauth.tasks"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_POOL, CELERY_WORKER_CONCURRENCY = "threads", 4
CELERY_WORKER_ENABLE_REMOTE_CONTROL = CELERY_BEAT_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # the default one keeps a file in the working directory
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {} if env.text("CELERY_BROKER_URL") else {"polling_interval": 0.5}

# --- Outbound

EGRESS_ALLOW_CIDRS = env.text("EGRESS_ALLOW_CIDRS")
EGRESS_ALLOW_HTTP_HOSTS = env.text("EGRESS_ALLOW_HTTP_HOSTS")

# --- Telemetry

METRICS_TOKEN = env.text("METRICS_TOKEN")
"""The bearer that /metrics wants; without one it is open to all who reach it."""
if METRICS_TOKEN and (len(METRICS_TOKEN) < 20 or not METRICS_TOKEN.isascii() or " " in METRICS_TOKEN):  # noqa: PLR2004 - see below
    raise ImproperlyConfigured("METRICS_TOKEN is weak. Set it to at least 20 random characters.")
OTEL_EXPORTER_OTLP_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_ENDPOINT").rstrip("/")
"""Where spans are sent, such as http://collector:4318; without it there are none."""
_collector = urlsplit(OTEL_EXPORTER_OTLP_ENDPOINT)
if OTEL_EXPORTER_OTLP_ENDPOINT and (
    _collector.scheme not in {"http", "https"}
    or not _collector.hostname
    or _collector.username is not None
    or _collector.query
    or _collector.fragment
):
    raise ImproperlyConfigured("OTEL_EXPORTER_OTLP_ENDPOINT must look like http://host:4318, without a password.")
_pairs = [pair.partition("=") for pair in env.text("OTEL_EXPORTER_OTLP_HEADERS").split(",") if pair.strip()]
OTEL_EXPORTER_OTLP_HEADERS = {name.strip(): unquote(value).strip() for name, _, value in _pairs}
"""What the collector wants to be shown: `name=value,name=value`, the values URL-encoded."""
if not all(
    each and each.isascii() and each.isprintable() for pair in OTEL_EXPORTER_OTLP_HEADERS.items() for each in pair
):
    raise ImproperlyConfigured("OTEL_EXPORTER_OTLP_HEADERS must be a list such as name=value,name=value.")
OTEL_SERVICE_NAME = env.text("OTEL_SERVICE_NAME", "metaagent")
TELEMETRY_SEND_S = env.number("TELEMETRY_SEND_S", 5, least=1, most=30)
"""How long sending spans may take, each time and when the process ends."""
_aloud = env.text("TELEMETRY_CONTENT") == "even-in-production"
TELEMETRY_CONTENT = _aloud or env.flag("TELEMETRY_CONTENT")
"""Whether spans hold prompts and answers, without what looks like a token. For finding faults."""
if TELEMETRY_CONTENT and not DEBUG and not _aloud:
    raise ImproperlyConfigured(
        "TELEMETRY_CONTENT would send what people ask to the collector. If that is meant, say even-in-production."
    )

# --- Logging: one line a fact, never a URL query, a header or a body

LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {"no_handles": {"()": "metaagent.logs.NoHandles"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["no_handles"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # These print URLs, headers or bodies below WARNING.
        name: {"level": "WARNING"}
        for name in (
            "httpx2",
            "httpcore2",
            "httpcore",
            "urllib3",
            "authlib",
            "oauthlib",
            "oauth2_provider",
            "anthropic",
            "mcp",
            "asyncio",
            "opentelemetry",
            "fido2",
            "celery",
            "kombu",
            "uvicorn.access",
            "django.db.backends",
            "django.template",
        )
    },
}
