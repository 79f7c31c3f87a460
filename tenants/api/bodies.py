"""How what is sent is read: JSON of a bounded size, in which everything is known by name and of its own type.

What was sent is never repeated in an error, but for the names of members that there are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.http import QueryDict
from rest_framework import exceptions, serializers
from rest_framework.parsers import BaseParser
from rest_framework.settings import api_settings

from tenants.objects import NOT_AN_OBJECT, read_object

BODY_BYTES = 65_536
_NAME_CHARS = 40


class TooLarge(exceptions.APIException):
    """The body is over the limit."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, most: int) -> None:
        super().__init__(f"The body is larger than {most} bytes.")


class StrictJson(BaseParser):
    """One JSON object of bounded size, in which each name stands once."""

    media_type = "application/json"
    most: ClassVar[int] = BODY_BYTES

    def parse(
        self,
        stream: Any,  # noqa: ANN401 - REST framework's signature
        media_type: str | None = None,  # noqa: ARG002 - see above
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - see above
    ) -> dict[str, object]:
        """Raises: TooLarge, ParseError."""
        body = stream.read(self.most + 1)
        if len(body) > self.most:
            raise TooLarge(self.most)
        try:
            return read_object(body)
        except ValueError:
            raise exceptions.ParseError(NOT_AN_OBJECT) from None


class LargeJson(StrictJson):
    """The same for what holds documents: as much as the server takes at all."""

    most: ClassVar[int] = settings.BODY_BYTES


# --- What may be in it


class Strict(serializers.Serializer[Any]):
    """Members that are known, and no others."""

    def to_internal_value(self, data: Any) -> Any:  # noqa: ANN401 - REST framework's signature
        """Raises: ValidationError for each name that there is not."""
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({name[:_NAME_CHARS]: ["There is no such name."] for name in unknown})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string, and nothing that could be made one."""

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401 - REST framework's signature
        """Raises: ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """`true` or `false`, and no words for them."""

    def to_internal_value(self, data: Any) -> bool:  # noqa: ANN401 - REST framework's signature
        """Raises: ValidationError."""
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class Whole(serializers.IntegerField):
    """A whole JSON number."""

    def to_internal_value(self, data: Any) -> int:  # noqa: ANN401 - REST framework's signature
        """Raises: ValidationError."""
        if type(data) is not int:
            self.fail("invalid")
        return data


class Choice(serializers.ChoiceField):
    """One of some words."""

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401 - REST framework's signature
        """Raises: ValidationError that says which there are."""
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"This must be one of {', '.join(map(str, self.choices))}.")
        return data


class Words(serializers.ListField):
    """A list of strings."""

    child = Text(max_length=300)

    def to_internal_value(self, data: Any) -> list[str]:  # noqa: ANN401 - REST framework's signature
        """Raises: ValidationError."""
        if not isinstance(data, list):
            raise serializers.ValidationError("This must be a list.")
        return list(super().to_internal_value(data))


# --- What is wrong with it


class Invalid(serializers.ValidationError):
    """A body or parameters that cannot be used: what is wrong with each, by its place."""

    place: ClassVar[str]

    @property
    def errors(self) -> list[dict[str, str]]:
        """As RFC 9457 shows such a list."""
        return [{self.place: self.named(path), "detail": text} for path, text in _leaves(self.detail)]

    def named(self, path: list[str]) -> str:
        """What the place is called."""
        raise NotImplementedError


class BadBody(Invalid):
    """Members of the body, by JSON Pointer."""

    place = "pointer"

    def named(self, path: list[str]) -> str:
        """RFC 6901."""
        return "".join(f"/{each.replace('~', '~0').replace('/', '~1')}" for each in path)


class BadQuery(Invalid):
    """Parameters of the address."""

    place = "parameter"

    def named(self, path: list[str]) -> str:
        """Its name."""
        return path[0] if path else ""


def checked_body(kind: type[serializers.Serializer[Any]] | None, given: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """What a body says; None takes none. Raises: BadBody."""
    form = (kind or Strict)(data=dict(given))
    if not form.is_valid():
        raise BadBody(form.errors)
    return dict(form.validated_data)


def checked_query(kind: type[serializers.Serializer[Any]], given: QueryDict) -> dict[str, Any]:
    """What the parameters of an address say. Raises: BadQuery."""
    twice = {name[:_NAME_CHARS]: ["This may be given once."] for name, each in given.lists() if len(each) > 1}
    form = kind(data=dict(given.items()))
    if twice or not form.is_valid():
        raise BadQuery(twice or form.errors)
    return dict(form.validated_data)


def _leaves(detail: Any, path: tuple[str, ...] = ()) -> list[tuple[list[str], str]]:  # noqa: ANN401 - REST framework's
    if isinstance(detail, Mapping):
        general = api_settings.NON_FIELD_ERRORS_KEY
        inner = ((() if name == general else (str(name),), each) for name, each in detail.items())
        return [leaf for more, each in inner for leaf in _leaves(each, path + more)]
    if isinstance(detail, list):
        if any(isinstance(each, (Mapping, list)) for each in detail):
            return [leaf for place, each in enumerate(detail) for leaf in _leaves(each, (*path, str(place)))]
        return [(list(path), str(each)) for each in detail]
    return [(list(path), str(detail))]
