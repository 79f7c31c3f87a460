"""`agent_rank`: the search over tools alone, on standard input and output; no database, no network."""

from metaagent.management.piping import Piping


class Command(Piping):
    """Rank the tools of a pool for prompts."""

    name = "agent_rank"
    help = (
        'Search over tools. {"pool", "tools": [{"name", "description", "parameters", "read_only"}]} on a line makes a '
        'pool, {"id", "prompt", "pool"} is answered with {"id", "ranked": [name]}.'
    )
