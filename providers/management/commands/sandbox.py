"""`manage.py sandbox`: a little provider on this machine, to try the product without an account anywhere."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from providers.sandbox.app import PORT, PortTaken, SandboxOptions, address, bind, new_client, server
from providers.sandbox.faults import Faults
from providers.sandbox.grants import Client
from providers.sandbox.words import PASSWORD, PEOPLE


def client(text: str) -> Client:
    """`ID:SECRET:REDIRECT_URI` as a client."""
    try:
        name, secret, uri = text.split(":", 2)
        return new_client(name, (uri,), id=name, secret=secret)
    except ValueError as wrong:
        raise ArgumentTypeError(f"write ID:SECRET:REDIRECT_URI with a whole http address ({wrong})") from None


def whole(text: str) -> int:
    """A number that is not negative."""
    if not text.isdecimal():
        raise ArgumentTypeError("must be a whole number that is not negative")
    return int(text)


class Command(BaseCommand):
    """Serve the sandbox until it is stopped."""

    help = "Start a provider with made-up data that speaks Sentry's API, on this machine only."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Where it listens and how it behaves."""
        parser.add_argument("--port", type=whole, default=PORT, help="0 takes a free one (default: %(default)s)")
        parser.add_argument("--access-ttl", type=whole, default=3600, metavar="S", help="lifetime of access tokens")
        parser.add_argument("--seed", type=whole, default=1, help="another seed is another made-up world")
        parser.add_argument(
            "--client",
            type=client,
            action="append",
            default=[],
            metavar="ID:SECRET:REDIRECT_URI",
            help="an application that may connect; may be given several times",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")

    def handle(self, **options: Any) -> None:
        """Bind first, so that a taken port is one line."""
        try:
            listener = bind(options["port"])
        except PortTaken as taken:
            self.stderr.write(str(taken))
            sys.exit(1)
        faults = Faults(access_ttl_s=options["access_ttl"])
        running = server(SandboxOptions(seed=options["seed"], clients=tuple(options["client"]), faults=faults))
        people = [{"name": name, "email": email, "organizations": where} for name, email, where in PEOPLE]
        if options["json"]:
            self.stdout.write(json.dumps({"url": address(listener), "password": PASSWORD, "people": people}))
        else:
            self.stdout.write(f"The sandbox is at {address(listener)}. Stop it with Ctrl-C.")
            for name, email, where in PEOPLE:
                self.stdout.write(f"  {name:<12} {email:<20} password {PASSWORD}   in {', '.join(where)}")
        self.stdout.flush()
        with suppress(KeyboardInterrupt):  # raised again after a graceful stop
            running.run(sockets=[listener])
