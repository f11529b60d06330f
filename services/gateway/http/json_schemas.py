"""JSON schemas of structs for Litestar's OpenAPI document, made by msgspec, which decodes and encodes them.

Litestar's own lack parts of the contract: that unknown fields are errors, and the sizes of mappings.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, Operation, Parameter, Reference, RequestBody, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator

Json = dict[str, Any]

_TEMPLATE: Final = "#/components/schemas/{name}"
_REFERRED: Final = "referred"
_ATTRIBUTES: Final = {field.metadata.get("alias", field.name): field.name for field in fields(Schema)}


def items_of(*kinds: type[msgspec.Struct]) -> msgspec.Meta:
    """For a list of `Any` whose items are structs of these kinds: msgspec describes no union of untagged structs."""
    choices = [{"$ref": _TEMPLATE.format(name=kind.__name__)} for kind in kinds]
    return msgspec.Meta(extra_json_schema={"items": {"anyOf": choices}}, extra={_REFERRED: kinds})


class StructSchemas(OpenAPISchemaPlugin):
    """Describes structs as they are decoded."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Whether it is a struct."""
        return not field_definition.is_union and field_definition.is_subclass_of(msgspec.Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """The component of a struct. Those that it refers to become components too."""
        kind = field_definition.annotation
        schema = schema_creator.schema_registry.get_schema_for_field_definition(field_definition)
        for name, value in vars(_schema(struct_components([kind])[kind.__name__])).items():
            setattr(schema, name, value)

        for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]  # it is of a struct
            for inner in _named_types(field.type):
                schema_creator.for_field_definition(FieldDefinition.from_annotation(inner))
        return schema


@dataclass
class _Described(Operation):
    """An operation that takes parameters and body from structs; it is made when the document is."""

    query: ClassVar[type[msgspec.Struct]]
    body: ClassVar[type[msgspec.Struct] | None]

    def __post_init__(self) -> None:
        parameters = [_parameter(field) for field in msgspec.structs.fields(self.query)]
        self.parameters = [*(self.parameters or []), *parameters] or None
        if self.body is not None:
            schema = Reference(_TEMPLATE.format(name=self.body.__name__))
            self.request_body = RequestBody({"application/json": OpenAPIMediaType(schema=schema)}, required=True)


def described_operation(query: type[msgspec.Struct], body: type[msgspec.Struct] | None = None) -> type[Operation]:
    """An operation whose query parameters are the fields of a struct. `body`: the struct of its body, if it has one,
    which is to be among the components (`body_components`)."""
    return type("DescribedOperation", (_Described,), {"query": query, "body": body})


def body_components(bodies: Iterable[type[msgspec.Struct]]) -> Json:
    """The components of bodies, by name, and of the structs they refer to. A body's `SCHEMA`, if it has one, adds what
    msgspec cannot say of a struct."""
    kinds = list(bodies)
    components = struct_components(kinds)
    for kind in kinds:
        components[kind.__name__] |= getattr(kind, "SCHEMA", {})
    return components


def struct_components(kinds: Iterable[type[msgspec.Struct]]) -> Json:
    """The components of structs, by name, and of those they refer to, as clients are generated from them.

    A schema's `default` makes generators promise a field that is left out, so there is none; a field that is always
    written is required.
    """
    kinds = list(kinds)
    _, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    for kind in _reachable(kinds):
        component = components.get(kind.__name__)
        if component is not None and issubclass(kind, msgspec.Struct):
            _require_written(kind, component)
            _name_as_written(component)
    found: Json = _finished(components)
    return found


def _parameter(field: msgspec.structs.FieldInfo) -> Parameter:
    (made,), _ = msgspec.json.schema_components([field.type], ref_template=_TEMPLATE)
    choices = [choice for choice in made.pop("anyOf", []) if choice != {"type": "null"}]  # it is left out, never null
    if len(choices) == 1 and "$ref" not in choices[0]:
        made |= choices[0]
    elif choices:
        made["anyOf"] = choices

    description = made.pop("description", None)
    return Parameter(
        name=field.encode_name,
        param_in="query",
        required=field.required,
        schema=_schema(made),
        description=description,
    )


def _named_types(described: Any) -> Iterator[type]:
    """The structs and enums that a type of `msgspec.inspect` is made of."""
    if isinstance(described, msgspec.inspect.StructType | msgspec.inspect.EnumType):
        yield described.cls
        return
    if isinstance(described, msgspec.inspect.Metadata):
        yield from (described.extra or {}).get(_REFERRED, ())

    held = msgspec.structs.astuple(described) if isinstance(described, msgspec.Struct) else described
    for inner in held if isinstance(held, tuple) else ():
        yield from _named_types(inner)


def _reachable(kinds: Iterable[type]) -> set[type]:
    found: set[type] = set()
    left = list(kinds)
    while left:
        kind = left.pop()
        if kind not in found:
            found.add(kind)
            left += _fields(kind)
    return found


def _fields(kind: type) -> Iterator[type]:
    """The structs and enums in a struct's fields."""
    if issubclass(kind, msgspec.Struct):
        for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]  # it is of a struct
            yield from _named_types(field.type)


def _require_written(kind: type[msgspec.Struct], component: Json) -> None:
    """A struct that only leaves the service, and leaves out no defaults, has all its fields."""
    config = kind.__struct_config__
    if not config.omit_defaults and not config.forbid_unknown_fields:
        fields = msgspec.structs.fields(kind)
        component["required"] = [field.encode_name for field in fields if field.default is not msgspec.UNSET]


def _name_as_written(component: Json) -> None:
    """Let a description name the fields as they are in JSON, and lose the margin of its docstring."""
    properties = component["properties"]

    def written(found: re.Match[str]) -> str:
        name = camel(found[1])
        return f"`{name}`" if name in properties else found[0]

    component["description"] = re.sub(r"`(\w+)`", written, inspect.cleandoc(component.get("description", "")))


def camel(name: str) -> str:
    """A field's name as JSON has it."""
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _schema(made: Json) -> Schema:
    return Schema(**{_ATTRIBUTES[name]: value for name, value in _finished(made).items()})


def _finished(schema: Any) -> Any:
    r"""A schema in the dialect of JSON Schema: Python's `\Z` is its `$`; a mapping says that it takes anything; a
    default is described in words."""
    if isinstance(schema, list):
        return [_finished(held) for held in schema]
    if not isinstance(schema, dict):
        return schema

    made = {name: _finished(held) for name, held in schema.items()}
    if isinstance(made.get("pattern"), str):
        made["pattern"] = made["pattern"].replace(r"\Z", "$")
    if "enum" in made:
        made.setdefault("type", "string")
    _say_it_takes_anything(made)
    if default := made.pop("default", None):
        made["description"] = f"Left out: {default}"
    return made


def _say_it_takes_anything(schema: dict[str, Any]) -> None:
    if schema.get("type") == "object" and not schema.keys() & {"properties", "additionalProperties"}:
        schema["additionalProperties"] = True
    if schema.get("type") == "array" and not schema.keys() & {"items", "prefixItems"}:
        schema["items"] = {}
