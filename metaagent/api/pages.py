"""The document of REST for programs, and as a page for people. Both are the same for everybody, and ask for no key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

YAML = "application/yaml"


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """JSON, or YAML for who asks for that."""
    wanted = request.get_preferred_type(["application/json", YAML])
    return HttpResponse(_as_yaml() if wanted == YAML else _as_json(), content_type=wanted or "application/json")


@dataclass(frozen=True, slots=True)
class Listed:
    """One operation, as the page lists it."""

    name: str
    method: str
    path: str
    summary: str
    about: str
    parameters: list[tuple[str, str, bool]]
    """Name, what it is, whether it is needed."""
    example: str


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Every operation, by part."""
    parts, info = _listed()
    return render(request, "api/index.html", {"parts": parts, "about": info})


@lru_cache(maxsize=1)
def _as_json() -> str:
    return json.dumps(_document(), ensure_ascii=False)


@lru_cache(maxsize=1)
def _as_yaml() -> str:
    import yaml  # noqa: PLC0415 - rarely wanted

    fast = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(_document(), Dumper=fast, sort_keys=False, allow_unicode=True, width=120))


@lru_cache(maxsize=1)
def _listed() -> tuple[dict[str, list[Listed]], list[str]]:
    parts: dict[str, list[Listed]] = {}
    for tag, each in _operations():
        parts.setdefault(tag, []).append(each)
    about = [" ".join(block.split()) for block in _document()["info"]["description"].split("\n\n")]
    return parts, about


def _operations() -> Iterator[tuple[str, Listed]]:
    for path, methods in _document()["paths"].items():
        for method, said in methods.items():
            body = said.get("requestBody", {}).get("content", {}).get("application/json", {})
            shown = next((each["value"] for each in body.get("examples", {}).values()), None)
            parameters = [
                (each["name"], each.get("description", ""), each.get("required", False))
                for each in said.get("parameters", [])
                if each["in"] != "path"
            ]
            yield (
                said["tags"][0],
                Listed(
                    said["operationId"],
                    method.upper(),
                    path,
                    said["summary"],
                    said["description"],
                    parameters,
                    json.dumps(shown, ensure_ascii=False, indent=2) if shown else "",
                ),
            )


def _document() -> dict[str, Any]:
    from metaagent.api.document import document  # noqa: PLC0415 - the generator is loaded for its readers alone

    return document()
