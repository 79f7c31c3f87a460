"""The project as an app, for the commands that join the others."""

from django.apps import AppConfig


class MetaagentConfig(AppConfig):
    """The commands."""

    name = "metaagent"
