"""The vault app."""

from django.apps import AppConfig


class VaultConfig(AppConfig):
    """Connections and their sealed tokens."""

    name = "vault"

    def ready(self) -> None:
        """Register the start-up checks."""
        from vault import checks  # noqa: F401, PLC0415 - registering is what the import is for
