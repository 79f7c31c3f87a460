"""A tenant's installations as one YAML document, read strictly and written plainly; pure. No secret is ever in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from metaagent.values import value
from providers import limits
from providers.spec import Access, Effect, Json

MOST_CHARS: Final = 1_048_576
_DEPTH: Final = 12
_MOST_PROBLEMS: Final = 100
_LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
Path = tuple[str | int, ...]


@value
class Problem:
    """What is wrong at one place of a document."""

    line: int
    """From 1."""
    where: str
    """Such as `providers[0].exposure`; empty: the document as a whole."""
    says: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.where + ' ' if self.where else ''}{self.says}"


class Unfit(Exception):
    """A document that cannot be used, with all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.where))[:_MOST_PROBLEMS]
        super().__init__(f"{len(self.problems)} problems")


# --- What is declared


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_Line = Annotated[str, StringConstraints(pattern=r"\A[^\x00-\x1f\x7f]*\z", max_length=500)]
_Name = Annotated[str, StringConstraints(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\z")]
_Names = tuple[_Name, ...]
_ToolName = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,63}\z")]


class SecretRef(_Part):
    """Where a secret is: in an environment variable, or in a file."""

    env: Annotated[str, StringConstraints(pattern=r"\A(?:[A-Z_][A-Z0-9_]{0,127})?\z")] = ""
    file: _Line = ""
    """Relative to the document's folder."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.env) == bool(self.file):
            raise ValueError("must be {env: NAME} or {file: path}")
        return self


class Key(_Part):
    """How a key that people enter is sent (`providers.spec.KeySpec`)."""

    header: _Line = "Authorization"
    prefix: _Line = "Bearer "
    words: _Line = ""


class Overrides(_Part):
    """What differs from what the source says of its authorization server."""

    issuer: _Line = ""
    authorize_url: _Line = ""
    token_url: _Line = ""
    revoke_url: _Line = ""
    identify_url: _Line = ""
    resource: _Line = ""
    scopes: Annotated[_Names, Field(strict=False)] = ()
    pkce: bool = True


class Tools(_Part):
    """What an administrator has decided about tools (`providers.manifest.Choices`)."""

    effects: Mapping[_ToolName, Annotated[Effect, Field(strict=False)]] = Field(default_factory=dict)
    """Of those that are not taken to write."""
    left_out: Annotated[tuple[_ToolName, ...], Field(strict=False)] = ()
    scopes: Mapping[_ToolName, Annotated[_Names, Field(strict=False)]] = Field(default_factory=dict)


class Declared(_Part):
    """One installation."""

    slug: Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,30}[a-z0-9]\z")]
    source: Literal["catalogue", "mcp", "openapi"] = "catalogue"
    enabled: bool = True
    url: _Line = ""
    file: _Line = ""
    """An OpenAPI document that is at no address, relative to this document's folder."""
    tags: Annotated[_Names, Field(strict=False)] = ()
    operations: Annotated[_Names, Field(strict=False)] = ()
    any_scope: bool = False
    title: _Line = ""
    about: _Line = ""
    access: Annotated[Access, Field(strict=False)] | None = None
    key: Key | None = None
    client_id: _Line = ""
    """Empty too where the product registers itself, or is known by a document of its own."""
    client_secret: SecretRef | None = None
    exposure: Literal["soft", "strict"] = "soft"
    consent: Literal["never", "first_use", "writes", "always"] = "never"
    connect_url: _Line = ""
    api_base: _Line = ""
    overrides: Overrides = Overrides()
    limits: Mapping[str, int] = Field(default_factory=dict)
    manifest: Annotated[str, StringConstraints(pattern=r"\A(?:[0-9a-f]{64})?\z")] = ""
    """Digest of the tools that were accepted; no others are taken in their place."""
    tools: Tools = Tools()

    @model_validator(mode="after")
    def _of_its_source(self) -> Self:
        if self.source == "catalogue":
            given = [name for name in _NOT_OF_THE_CATALOGUE if getattr(self, name) != _default(type(self), name)]
            if given:
                raise ValueError(f"has {given[0]}, which is for the sources mcp and openapi alone")
        elif self.source == "mcp" and (self.file or self.tags or self.operations or self.any_scope):
            raise ValueError("has what is for openapi alone: file, tags, operations or any_scope")
        elif self.source == "mcp" and not self.url:
            raise ValueError("has no url, where its MCP server is")
        elif self.source == "openapi" and self.url and self.file:
            raise ValueError("has both url and file")
        if self.tools != Tools() and not self.manifest:
            raise ValueError("decides about tools without manifest, the digest of the tools it is about")
        return self


_NOT_OF_THE_CATALOGUE: Final = (
    *("url", "file", "tags", "operations", "any_scope", "title", "about", "access", "key", "manifest", "tools"),
)


class Document(_Part):
    """All of them."""

    version: Literal[1]
    providers: Annotated[tuple[Declared, ...], Field(strict=False)]


# --- Reading


@value
class Read:
    """A document that can be used, and where its providers stand."""

    providers: tuple[Declared, ...]
    lines: Mapping[str, int]
    """By slug."""


def read(text: str) -> Read:
    """A document, whole or not at all. Raises: Unfit."""
    lines: dict[Path, int] = {}
    node = _composed(text)
    wrong: list[Problem] = []
    tree = _built(node, (), lines, wrong)
    if wrong:
        raise Unfit(wrong)
    try:
        document = Document.model_validate(tree)
    except ValidationError as errors:
        wrong = [_problem(error, lines) for error in errors.errors(include_url=False, include_input=False)]
        raise Unfit(wrong) from None
    at = {each.slug: lines["providers", place] for place, each in enumerate(document.providers)}
    wrong = [*_twice(document, lines), *_beyond(document, lines)]
    if wrong:
        raise Unfit(wrong)
    return Read(document.providers, at)


def _composed(text: str) -> yaml.Node:
    """The one document in `text`, without anything that makes YAML more than plain data. Raises: Unfit."""
    if len(text) > MOST_CHARS:
        raise Unfit([Problem(1, "", f"has more than {MOST_CHARS:,} characters.")])
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise Unfit([Problem(line, "", "anchors and aliases are not read; write it out.")])
            if getattr(event, "tag", None) not in {None, "!"} and not any(_implicit(event)):
                raise Unfit([Problem(line, "", "tags are not read; write plain values.")])
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH:
                raise Unfit([Problem(line, "", "is nested too deeply.")])
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark or broken.context_mark
        raise Unfit([Problem(mark.line + 1 if mark else 1, "", "is not YAML here.")]) from None
    except yaml.YAMLError:
        raise Unfit([Problem(1, "", "is not YAML.")]) from None
    if node is None:
        raise Unfit([Problem(1, "", "is empty.")])
    return node


def _implicit(event: yaml.Event) -> tuple[bool, ...]:
    said = getattr(event, "implicit", True)
    return said if isinstance(said, tuple) else (bool(said),)


def _built(node: yaml.Node, path: Path, lines: dict[Path, int], wrong: list[Problem]) -> Json:
    """The value of a node; notes where each part of it stands, and every key that stands twice."""
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_built(each, (*path, place), lines, wrong) for place, each in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node)
    found: dict[str, Json] = {}
    for key, each in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) and key.tag == _TEXT else None
        if name is None:
            wrong.append(
                Problem(key.start_mark.line + 1, _where(path), "has a key that is not text; put it in quotes.")
            )
        elif name in found:
            wrong.append(Problem(key.start_mark.line + 1, _where((*path, name)), "stands twice."))
        else:
            found[name] = _built(each, (*path, name), lines, wrong)
            lines[(*path, name)] = key.start_mark.line + 1
    return found


def _scalar(node: yaml.Node) -> Json:
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, yaml.YAMLError):  # it looks like a number or a date, and is none
        return node.value


def _twice(document: Document, lines: Mapping[Path, int]) -> Iterator[Problem]:
    seen: set[str] = set()
    for place, each in enumerate(document.providers):
        if each.slug in seen:
            yield Problem(lines["providers", place], _where(("providers", place, "slug")), "is declared before.")
        seen.add(each.slug)


def _beyond(document: Document, lines: Mapping[Path, int]) -> Iterator[Problem]:
    for place, each in enumerate(document.providers):
        for name, number in each.limits.items():
            try:
                limits.checked({name: number})
            except ValueError as wrong:
                path: Path = ("providers", place, "limits", name)
                yield Problem(lines[path], _where(path), f"cannot be. {wrong}")


_SAYS: Final = {
    "missing": "is missing.",
    "extra_forbidden": "is not known here.",
    "string_type": "must be text; put it in quotes.",
    "string_too_long": "is too long.",
    "int_type": "must be a whole number.",
    "bool_type": "must be true or false.",
    "tuple_type": "must be a list.",
    "mapping_type": "must be names and values.",
    "model_type": "must be names and values.",
}


def _problem(error: ErrorDetails, lines: Mapping[Path, int]) -> Problem:
    path: Path = tuple(each for each in error["loc"] if each != "[key]")
    at = next(lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in lines)
    context = error.get("ctx") or {}
    says = _SAYS.get(error["type"], "cannot be used.")
    if path[-1:] == ("client_secret",) and error["type"] == "model_type":
        says = "must be {env: NAME} or {file: path}; a secret itself is not written here."
    elif path[-2:] == ("client_secret", "env"):
        says = "must be the name of an environment variable, in capitals."
    elif error["type"] in {"literal_error", "enum"}:
        says = f"must be {context.get('expected', 'another')}."
    elif error["type"] == "value_error":
        says = f"{context['error']}."
    return Problem(at, _where(path), says)


def _where(path: Path) -> str:
    said = "".join(f"[{each}]" if isinstance(each, int) else f".{each[:40]}" for each in path)
    return said.removeprefix(".")


# --- Writing


def written(providers: Iterable[Declared]) -> str:
    """The document of these, in the order of their slugs; what is as it would be anyway is left out."""
    declared = [_plain(each) for each in sorted(providers, key=lambda each: each.slug)]
    found: str = yaml.safe_dump({"version": 1, "providers": declared}, sort_keys=False, allow_unicode=True, width=100)
    return found


_ALWAYS: Final = ("slug", "source", "exposure", "consent")


def _plain(part: _Part) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name in type(part).model_fields:
        said = getattr(part, name)
        if name in _ALWAYS or said != _default(type(part), name):
            found[name] = _plain(said) if isinstance(said, _Part) else _json(said)
    return found


def _json(said: Json) -> Json:
    if isinstance(said, Mapping):
        return {str(name): _json(each) for name, each in sorted(said.items())}
    if isinstance(said, tuple):
        return [_json(each) for each in said]
    return said.value if isinstance(said, Access | Effect) else said


def _default(kind: type[_Part], name: str) -> object:
    return kind.model_fields[name].get_default(call_default_factory=True)


def differences(old: Declared, new: Declared) -> dict[str, tuple[str, str]]:
    """What an import would change, by field: as it is and as it would be. Where a secret is does not matter."""
    found = {}
    before, after = _flat(old), _flat(new)
    for name in sorted({*before, *after}):
        if before.get(name, "") != after.get(name, ""):
            found[name] = (before.get(name, ""), after.get(name, ""))
    return found


def _flat(declared: Declared) -> dict[str, str]:
    plain = _plain(declared)
    for name in ("client_secret", "file"):
        plain.pop(name, None)
    return dict(_leaves(plain, ""))


def _leaves(said: Json, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(said, dict):
        for key, each in said.items():
            yield from _leaves(each, f"{name}.{key}" if name else key)
    else:
        yield name, " ".join(map(str, said)) if isinstance(said, list) else str(said)
