"""The product's settings for processes that tests start: its password hash is slow on purpose, this one is not."""

from metaagent.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
