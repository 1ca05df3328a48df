"""Verdicts of python-jsonschema (Draft 2020-12 or the schema's own, formats checked) on schemas and values of our own: what `schemaCompliance` is held to."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from jsonschema.validators import Draft202012Validator, validator_for  # noqa: E402

thing = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
tree = {"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}, "required": ["v"]}}, "$ref": "#/$defs/node"}
CASES = [
    (thing, [{"a": 1}, {"a": 1.0}, {"a": 1.5}, {"a": True}, {"a": 1, "b": 2}, {"b": "x"}, {"a": 1, "c": 1}, [], "a", None]),
    (tree, [{"v": 1}, {"v": 1, "next": {"v": 2, "next": {"v": 3}}}, {"v": 1, "next": {"v": "x"}}, {"next": {"v": 1}}]),
    ({"type": "integer", "minimum": 2, "exclusiveMaximum": 9, "multipleOf": 2}, [2, 9, 8, 3, 0, "4"]),
    ({"type": "number", "multipleOf": 0.01}, [0.07, 19.99, 0.075, 4.35]),
    ({"type": "string", "pattern": "[0-9]{2}", "minLength": 2, "maxLength": 5}, ["a12", "12", "1a2", "123456", "é12", "\U0001f600" * 3 + "12", 12]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3, "uniqueItems": True}, [[1], [], [1, 2, 3, 4], [1, 1], [1, 1.0], [1, "2"], {}]),
    ({"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False}, [["a", 1], ["a"], ["a", 1, 2], [1], []]),
    ({"contains": {"const": 3}, "minContains": 2}, [[3, 3], [3], [1, 3, 3, 2]]),
    ({"enum": [1, "one", None, {"a": [1]}]}, [1, "one", None, {"a": [1]}, {"a": [2]}, 1.0, True, "1"]),
    ({"const": {"a": 1, "b": 2}}, [{"b": 2, "a": 1}, {"a": 1}]),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, [None, "x", 1]),
    ({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}, [2, 3, 6, 5]),
    ({"allOf": [{"minimum": 1}, {"maximum": 3}], "not": {"const": 2}}, [1, 2, 3, 4]),
    ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}, [{"a": 1, "b": 1}, {"a": 1}, {"c": 1}, {}]),
    ({"dependentRequired": {"a": ["b"]}, "propertyNames": {"maxLength": 1}}, [{"a": 1}, {"a": 1, "b": 1}, {"cc": 1}, {}]),
    ({"patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": {"type": "string"}}, [{"n_a": 1}, {"n_a": "1"}, {"x": "1"}, {"x": 1}]),
    ({"minProperties": 1, "maxProperties": 2, "type": "object"}, [{}, {"a": 1}, {"a": 1, "b": 1, "c": 1}]),
    ({"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": False}, [{"a": 1}, {"a": 1, "b": 1}]),
    ({"type": "string", "format": "date"}, ["2026-02-28", "2026-02-30", "2024-02-29", "26-1-1", "x"]),
    ({"type": "string", "format": "ipv4"}, ["1.2.3.4", "1.2.3.256", "1.2.3"]),
    ({"type": "string", "format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000", "123e4567"]),
    ({"type": ["integer", "string"]}, [1, "a", None, 1.5]),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}], "additionalItems": False}, [["a"], ["a", 1], [1]]),
    ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}, [3, 4]),
    ({}, [1, None, {}]),
]


def verdicts(schema, values):
    kind = validator_for(schema, default=Draft202012Validator)
    kind.check_schema(schema)
    checker = kind(schema, format_checker=kind.FORMAT_CHECKER)
    return {"schema": schema, "values": values, "valid": [checker.is_valid(value) for value in values]}


write_json(output_folder(__file__) / "verdicts.json", {"cases": [verdicts(*case) for case in CASES]})
