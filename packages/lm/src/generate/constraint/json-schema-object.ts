import { choice, complementOf, EMPTY, type Expression, literal, repeat, rule, sequence } from './expression.js';
import type { SchemaCompiler } from './json-schema.js';
import { COLON, COMMA, jsonCharacters, objectOf, SPACE } from './json-text.js';
import { isSchema, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';

/**
 * Objects: the listed properties in their order, those that are not required perhaps, then others. Others come where
 * `additionalProperties` says so, or where nothing is listed; never under a listed name, which they would replace.
 */
export function objectExpression(compiler: SchemaCompiler, schema: JsonSchema, path: string): Expression {
  const { properties = {}, required = [], additionalProperties } = schema;
  if (!isSchema(properties)) throw new UnsupportedSchemaError(path, '"properties" must be an object');
  if (!Array.isArray(required) || required.some((name) => typeof name !== 'string')) {
    throw new UnsupportedSchemaError(path, '"required" must be a list of names');
  }
  // A required name that is not listed is of the schema of all others.
  const unlisted = required.filter((name: string) => !Object.hasOwn(properties, name));
  const listed: [name: string, schema: unknown][] = [
    ...Object.entries(properties),
    ...unlisted.map((name: string): [string, unknown] => [name, additionalProperties ?? true]),
  ];
  const isOpen = additionalProperties === undefined ? listed.length === 0 : additionalProperties !== false;
  const names = listed.map(([name]) => name);
  const other = (): Expression =>
    sequence(
      names.length === 0 ? rule('json-string') : otherName(names),
      COLON,
      compiler.expression(additionalProperties ?? true, `${path}/additionalProperties`),
    );
  if (listed.length === 0) return isOpen ? objectOf(compiler.private(other)) : objectOf(choice());

  const otherMember = isOpen ? compiler.private(other) : undefined;
  const members = listed.map(([name, value]) =>
    compiler.private(() =>
      sequence(literal(JSON.stringify(name)), COLON, compiler.expression(value, `${path}/properties/${name}`)),
    ),
  );
  // The rest of the object from property i on, behind nothing or behind another property.
  const rests = new Map<string, Expression>();
  const rest = (i: number, isFirst: boolean): Expression => {
    const key = `${i}${isFirst}`;
    const known = rests.get(key) ?? compiler.private(() => makeRest(i, isFirst));
    rests.set(key, known);
    return known;
  };
  const makeRest = (i: number, isFirst: boolean): Expression => {
    const separator = isFirst ? EMPTY : COMMA;
    if (i === members.length) {
      if (!otherMember) return EMPTY;
      const more = repeat(sequence(COMMA, otherMember), 0, Infinity);
      return choice(EMPTY, sequence(separator, otherMember, more));
    }
    const taken = sequence(separator, members[i]!, rest(i + 1, false));
    return required.includes(names[i]!) ? taken : choice(taken, rest(i + 1, isFirst));
  };
  return sequence(literal('{'), SPACE, rest(0, true), SPACE, literal('}'));
}

/** A JSON string that is none of these names: at every place of their tree, any way but theirs. */
function otherName(names: readonly string[]): Expression {
  const anything = repeat(rule('json-character'), 0, Infinity);
  const behind = (endings: readonly string[]): Expression => {
    const byFirst = new Map<number, string[]>();
    for (const ending of endings.filter((text) => text !== '')) {
      const first = ending.codePointAt(0)!;
      byFirst.set(first, [...(byFirst.get(first) ?? []), ending.slice(String.fromCodePoint(first).length)]);
    }
    const others = complementOf([...byFirst.keys()].map((codePoint) => [codePoint, codePoint] as const));
    return choice(
      ...(endings.includes('') ? [] : [EMPTY]),
      sequence(jsonCharacters(others), anything),
      ...[...byFirst].map(([first, rests]) => sequence(jsonCharacters([[first, first]]), behind(rests))),
    );
  };
  return sequence(literal('"'), behind(names), literal('"'));
}
