"""The search over tools: what people say finds what tools call otherwise, in the order they would be needed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from metaagent.agent import catalog
from metaagent.agent.catalog import rank, read_catalog
from metaagent.agent.words import stems
from providers.spec import Api, Args, Effect, Json, Producer, Result, ToolSpec


async def _nothing(_api: Api, _args: Args) -> Result:
    return Result(None, "")


def tool(
    name: str,
    summary: str = "",
    params: Mapping[str, Mapping[str, Json]] | None = None,
    *,
    required: Sequence[str] = (),
    producers: Mapping[str, Producer] | None = None,
) -> ToolSpec:
    return ToolSpec(
        name=name,
        summary=summary,
        invoke=_nothing,
        params=params or {name: {"type": "string"} for name in required},
        required=frozenset(required),
        producers=producers or {},
        effect=Effect.READ,
    )


FILMS = (
    tool("search_movie", "Search for movies.", required=["query"]),
    tool("get_movie", "Get the primary information about a movie.", required=["movie_id"]),
    tool("get_movie_credits", "Get the cast and crew for a movie.", required=["movie_id"]),
    tool("get_movie_images", "Get the images that belong to a movie.", required=["movie_id"]),
    tool("search_person", "Search for people.", required=["query"]),
    tool("get_person", "Get the details of a person.", required=["person_id"]),
    tool("list_genres", "List all genres."),
    tool("get_top_rated", "List what viewers rate best."),
)
OFFICE = (
    tool("send_email", "Sends an email to the given recipients.", required=["recipients", "subject", "body"]),
    tool("search_emails", "Searches for emails in the inbox.", required=["query"]),
    tool("create_calendar_event", "Creates a new calendar event.", required=["title", "start_time"]),
    tool("cancel_calendar_event", "Cancels the event with the given id.", required=["event_id"]),
    tool("search_calendar_events", "Searches calendar events that match a query.", required=["query"]),
    tool("read_file", "Reads the contents of the file at the given path.", required=["path"]),
    tool("get_balance", "Get the balance of the account."),
    tool("get_current_time", "Get the current date and time."),
    tool("get_webpage", "Returns the content of the webpage at a given URL.", required=["url"]),
)


def test_the_tool_whose_words_are_said_comes_first() -> None:
    assert rank(read_catalog(OFFICE), "send an email to Ann")[0] == "send_email"
    assert rank(read_catalog(OFFICE), "What is my account balance?")[0] == "get_balance"


def test_other_words_for_the_same_thing_find_it() -> None:
    films = read_catalog(FILMS)
    assert "get_movie_images" in rank(films, "show me a poster of this film")[:2]
    assert "get_movie_credits" in rank(films, "Which actors starred in the film?")[:3]
    assert rank(read_catalog(OFFICE), "arrange an appointment on Monday")[0].endswith(("_event", "_events"))


@pytest.mark.parametrize("said", ["userProfiles", "user_profile", "user-profile", "USER profiles", "Users' profiles"])
def test_a_name_is_found_however_it_is_written(said: str) -> None:
    index = read_catalog([*FILMS, tool("api.getUserProfile", "One of many.")])
    assert rank(index, f"fetch {said}")[0] == "api.getUserProfile"


def test_the_plural_of_an_abbreviation_is_its_singular() -> None:
    index = read_catalog([*FILMS, tool("generate_guid", "Makes one.")])
    assert rank(index, "I need 50 GUIDs")[0] == "generate_guid"
    assert stems("listURLs for VMs") == ("list", "url", "for", "vm")


def test_each_clause_of_a_prompt_has_its_tool_among_the_first() -> None:
    prompt = "Read the file notes.txt, then email a summary to Bob and cancel the event with Carol."
    assert {"read_file", "send_email", "cancel_calendar_event"} <= set(rank(read_catalog(OFFICE), prompt)[:4])


def test_a_tool_that_is_all_one_clause_is_about_beats_one_that_every_clause_mentions() -> None:
    jobs = [tool("delete_mail", "x"), tool("upload_file", "x"), tool("plan_event", "x")]
    index = read_catalog([*jobs, tool("mail_file_event_counts", "x"), tool("open_door"), tool("close_door")])
    assert rank(index, "delete the mail, upload the file and plan the event")[:3] == [job.name for job in jobs]


def test_a_tool_that_needs_an_id_brings_the_one_that_finds_it() -> None:
    music = [
        tool("get_track", "One track.", required=["track_id"]),
        tool("get_track_lyrics", "The lyrics of a track.", required=["track_id"]),
        tool("get_artist", "An artist.", required=["artist_id"]),
        tool("find_artists", "By what they are called.", required=["query"]),
        tool("find_tracks", "By what they are called.", required=["query"]),
    ]
    found = rank(read_catalog(music), "show the lyrics of Blue Moon")
    assert found[:2] == ["get_track_lyrics", "find_tracks"]
    assert "find_artists" not in found


def test_no_tool_is_brought_for_what_itself_must_be_given() -> None:
    alone = [tool("get_order", "Get an order.", required=["order_id"]), tool("ship_order", "x", required=["order_id"])]
    assert rank(read_catalog(alone), "get the order") == ["get_order", "ship_order"]


def test_one_general_search_finds_ids_of_every_kind_it_names() -> None:
    music = [
        tool("search", "Search for albums, artists and tracks.", required=["q"]),
        tool("get-artist", "One artist.", required=["id"]),
        tool("follow-artists", "Follow them.", required=["ids"]),
        tool("set-volume", "Set how loud it plays."),
        tool("get-devices", "What can play."),
    ]
    assert "search" in rank(read_catalog(music), "follow Björk")[:2]


def test_what_a_provider_says_about_its_ids_counts() -> None:
    tools = [
        tool("list_rooms", "All of them."),
        tool("plan", "The floor."),
        tool("book_desk", "Book a desk.", required=["desk"], producers={"desk": Producer("plan", "id")}),
    ]
    assert rank(read_catalog(tools), "book me a desk")[:2] == ["book_desk", "plan"]


def test_what_a_prompt_needs_without_saying_so_is_found() -> None:
    office = read_catalog(OFFICE)
    assert "get_current_time" in rank(office, "What events are on tomorrow?")
    assert "get_webpage" in rank(office, "Summarise https://example.com/a for me")[:2]
    assert "read_file" in rank(office, "What does /home/me/plan.txt say?")[:2]


def test_tools_of_other_groups_for_the_same_job_leave_room_for_another_job() -> None:
    checks = [tool(f"maker{i}.verify_email", "Verify an email address.", required=["email"]) for i in range(8)]
    others = [tool("registry.owner", "Who owns a domain."), tool("other.domain", "Something of a domain.")]
    prompt = "Verify the email address of each guest, and whose domain it is"
    assert "registry.owner" in rank(read_catalog([*checks, *others]), prompt)[:5]


def test_siblings_of_a_good_tool_come_before_equals_of_other_groups() -> None:
    index = read_catalog([tool("other.languages", "x"), tool("judge.languages", "x"), tool("judge.statuses", "x")])
    assert rank(index, "statuses and languages") == ["judge.statuses", "judge.languages", "other.languages"]


def test_no_more_than_asked_for_and_none_twice() -> None:
    index = read_catalog(FILMS)
    for most in (0, 1, 3, 100):
        found = rank(index, "search the movie and the person, get their images and credits", most)
        assert len(found) <= most
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n\t",
        "?!…",
        "\x00\x01",
        "the of and",
        "xyzzy plugh",
        "a" * 100_000,
        "movie, " * 20_000,
        ", " + " " * 50_000,
        "/" * 50_000,
        "/a" * 20_000,
        "1 + " * 20_000,
        "(((((\\d+)*)*)*",
        "최근 임진왜란에 대한 정보를 찾고 싶어요",
        "Ändere die Größe",
        "映画を検索",
        "\ud800 movie",
        "𝓶𝓸𝓿𝓲𝓮 🎬",
    ],
)
def test_any_text_is_answered(prompt: str) -> None:
    assert set(rank(read_catalog(FILMS), prompt)) <= {found.name for found in FILMS}


def test_a_prompt_in_another_script_finds_the_tool_that_uses_its_words() -> None:
    index = read_catalog([*FILMS, tool("find", "映画を検索")])
    assert rank(index, "映画を検索")[0] == "find"


def test_hostile_tools_are_read() -> None:
    hostile = [
        tool("", ""),
        tool("...", "x" * 200_000),
        tool("search_movie", "Search."),
        tool("search_movie", "The same name again."),
        tool("🎬", "\x00", {"": {}, "p" * 10_000: {"enum": 7, "description": 3}, "q": {"enum": [[{}], None, "a"]}}),
        tool(
            "loop",
            "x",
            required=["loop_id"],
            producers={"loop_id": Producer("loop", "id"), "x": Producer("gone", "id")},
        ),
        tool("many", "x", {f"p{i}": {"description": "movie " * 500} for i in range(2000)}),
    ]
    index = read_catalog(hostile)
    assert "search_movie" in rank(index, "search a movie")
    assert max(map(len, index.terms)) < 300
    assert rank(read_catalog([]), "search a movie") == []
    assert rank(read_catalog(hostile[:1]), "x") == []
    assert rank(read_catalog(FILMS[:1]), "find a film") == ["search_movie"]


_RANKED = """
import random
from metaagent.agent.catalog import rank, read_catalog
from tests.agent.test_catalog import FILMS, OFFICE, crowd
for tools in (FILMS, OFFICE, crowd(80)):
    print(rank(read_catalog(tools), "search the movie file, list its cast and mail who starred in it tomorrow"))
"""


def crowd(size: int) -> list[ToolSpec]:
    """Tools made of the same few words, so that many are close."""
    words = stems("user order file message report ticket invoice channel event product image city price review")
    chance = random.Random(7)  # noqa: S311 - the same each time, and no secret
    return [
        tool(
            f"{chance.choice(words)}s.{chance.choice(['get', 'list', 'create', 'search'])}_{chance.choice(words)}_{i}",
            f"{chance.choice(words)} of {chance.choice(words)} with {chance.choice(words)}. " * 4,
            {
                f"{word}_id": {"type": "string", "description": f"The {word} of the {chance.choice(words)}."}
                for word in words[:6]
            },
            required=[f"{chance.choice(words[:6])}_id"],
        )
        for i in range(size)
    ]


def test_the_order_is_the_same_in_every_process() -> None:
    said = set()
    for seed in ("1", "2", "3"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run([sys.executable, "-c", _RANKED], env=env, capture_output=True, text=True, check=True)
        said.add(ran.stdout)
    assert len(said) == 1
    assert said.pop().count("\n") == 3


def test_the_work_for_one_prompt_among_a_thousand_tools_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in looked-at postings and compared tools, since a clock would measure the machine."""
    tools = crowd(1000)
    index = read_catalog(tools)
    prompt = "list the orders of each user, then message the channel about the ticket and create an invoice " * 40
    seen = _Counted(index.postings)
    compared = []
    whole = catalog._Found.__init__

    def counting(self: catalog._Found, *rest: object) -> None:
        compared.append(self)
        whole(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(catalog._Found, "__init__", counting)
    counted = catalog.CatalogIndex(
        **{name: getattr(index, name) for name in catalog.CatalogIndex.__slots__ if name != "postings"},
        postings=seen,
    )
    found = rank(counted, prompt)
    assert found == rank(index, prompt)
    assert len(found) == 10
    assert seen.looked_at < 20_000
    assert len(compared) <= 2 * 50


class _Counted(dict[str, Sequence[tuple[int, float]]]):
    """Postings that count what is taken from them."""

    looked_at = 0

    def __getitem__(self, term: str) -> Sequence[tuple[int, float]]:
        found = super().__getitem__(term)
        self.looked_at += len(found)
        return found


def test_an_index_holds_a_bounded_number_of_terms_for_each_tool() -> None:
    index = read_catalog(crowd(1000))
    assert sum(map(len, index.terms)) < 1000 * 100
    assert all(len(found) <= 3 for found in index.producers)
