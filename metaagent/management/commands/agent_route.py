"""`agent_route`: the router alone, on standard input and output; no database, no network."""

from metaagent.management.piping import Piping


class Command(Piping):
    """Choose one read tool and its arguments for prompts, or none."""

    name = "agent_route"
    help = (
        'The router. {"id", "prompt", "tools": [{"name", "description", "parameters", "read_only"}]} on a line is '
        'answered with {"id", "tool": name, "args": {…}}, or with {"id", "tool": null, "why"} when it is not sure.'
    )
