import { choice, complementOf, EMPTY, type Expression, literal, repeat, rule, sequence, words } from './expression.js';
import type { SchemaCompiler } from './json-schema.js';
import { nameExpression } from './json-schema-string.js';
import { COLON, COMMA, jsonCharacters, objectOf, SPACE } from './json-text.js';
import { isSchema, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';

/**
 * Objects: the listed properties in their order, those that are not required perhaps, then others. Others come where
 * `additionalProperties` says so, or where nothing is listed; never under a listed name, which they would replace.
 */
export function objectExpression(compiler: SchemaCompiler, given: JsonSchema, path: string): Expression {
  const { propertyNames = true, ...rest } = given;
  if (propertyNames === false) return compiler.expression({ ...rest, additionalProperties: false }, path);
  if (propertyNames === true) return membersExpression(compiler, rest, undefined, path);
  const where = `${path}/propertyNames`;
  if (!isSchema(propertyNames)) throw new UnsupportedSchemaError(where, 'a schema must be an object, true or false');
  const listed = 'const' in propertyNames ? [propertyNames.const] : propertyNames.enum;
  if (Array.isArray(listed)) return listedExpression(compiler, rest, listed, path);
  const name = nameExpression(compiler, propertyNames, where);
  if (name && ('properties' in rest || (Array.isArray(rest.required) && rest.required.length > 0))) {
    throw new UnsupportedSchemaError(where, 'beside "properties" or "required" it is supported with "enum" only');
  }
  return membersExpression(compiler, rest, name, path);
}

/** Objects whose names are listed by `propertyNames`: those that are not described are of the schema of all others. */
function listedExpression(
  compiler: SchemaCompiler,
  schema: JsonSchema,
  names: readonly unknown[],
  path: string,
): Expression {
  const { properties = {}, additionalProperties = true, required = [], ...rest } = schema;
  const known = new Set(names);
  if (!isSchema(properties) || !Array.isArray(required)) return membersExpression(compiler, schema, undefined, path);
  // A name that must be there and may not.
  if (required.some((name) => !known.has(name))) return choice();
  const described = Object.entries(properties).filter(([name]) => known.has(name));
  const others = names.filter((name): name is string => typeof name === 'string' && !Object.hasOwn(properties, name));
  const all = [...described, ...others.map((name) => [name, additionalProperties] as const)];
  const listed = { ...rest, properties: Object.fromEntries(all), required, additionalProperties: false };
  return membersExpression(compiler, listed, undefined, path);
}

/** @param otherNames what names that are not listed look like. Default: any */
function membersExpression(
  compiler: SchemaCompiler,
  schema: JsonSchema,
  otherNames: Expression | undefined,
  path: string,
): Expression {
  const { properties = {}, required = [], additionalProperties } = schema;
  if (!isSchema(properties)) throw new UnsupportedSchemaError(path, '"properties" must be an object');
  if (!Array.isArray(required) || required.some((name) => typeof name !== 'string')) {
    throw new UnsupportedSchemaError(path, '"required" must be a list of names');
  }
  const isRequired = new Set<string>(required);
  // A required name that is not listed is of the schema of all others.
  const unlisted = [...isRequired].filter((name) => !Object.hasOwn(properties, name));
  const listed: [name: string, schema: unknown][] = [
    ...Object.entries(properties),
    ...unlisted.map((name: string): [string, unknown] => [name, additionalProperties ?? true]),
  ];
  const isOpen = additionalProperties === undefined ? listed.length === 0 : additionalProperties !== false;
  const names = listed.map(([name]) => name);
  const other = (): Expression =>
    sequence(
      names.length === 0 ? (otherNames ?? rule('json-string')) : otherName(names, path),
      COLON,
      compiler.expression(additionalProperties ?? true, `${path}/additionalProperties`),
    );
  if (listed.length === 0) return isOpen ? objectOf(compiler.private(other)) : objectOf(choice());

  const otherMember = isOpen ? compiler.private(other) : undefined;
  const members = listed.map(([name, value]) =>
    compiler.private(() =>
      sequence(words([JSON.stringify(name)]), COLON, compiler.expression(value, `${path}/properties/${name}`)),
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
    return isRequired.has(names[i]!) ? taken : choice(taken, rest(i + 1, isFirst));
  };
  // From the end, so that nothing calls itself as often as there are properties.
  for (let i = members.length; i > 0; i--) for (const isFirst of [false, true]) rest(i, isFirst);
  return sequence(literal('{'), SPACE, rest(0, true), SPACE, literal('}'));
}

/**
 * Most places of the tree of listed names beside which others are allowed. Each takes about 150 nodes of an automaton, so
 * that more would be refused there, after seconds.
 */
const MOST_PLACES = 700;

/** A JSON string that is none of these names: at every place of their tree, any way but theirs. */
function otherName(names: readonly string[], path: string): Expression {
  if (placesOf(names) > MOST_PLACES) {
    const what = `it lists too many properties (${names.length}) for others beside them; say "additionalProperties": false`;
    throw new UnsupportedSchemaError(path, what);
  }
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

/** Beginnings that the names have, each counted once. */
function placesOf(names: readonly string[]): number {
  let before = '';
  let places = 0;
  for (const name of [...names].sort()) {
    let common = 0;
    while (common < name.length && name[common] === before[common]) common++;
    places += name.length - common;
    before = name;
  }
  return places;
}
