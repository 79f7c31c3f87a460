"""Every page's address; /mcp is not here but in `metaagent/asgi.py`."""

from django.urls import include, path

from metaagent import health, operators

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("", include("tenants.urls")),
    path("", include("tenants.oauth.urls")),
    path("", include("vault.urls")),
    path("", include("metaagent.console.urls")),
    path("admin/", operators.site.urls),
    path("api/", include("metaagent.api.urls")),
]

handler400 = "tenants.views.bad_request"
handler404 = "tenants.views.not_found"
handler500 = "tenants.views.server_error"
