import { choice, type Expression, literal, repeat, sequence } from './expression.js';
import type { SchemaCompiler } from './json-schema.js';
import { COMMA, SPACE } from './json-text.js';
import { countOf, type JsonSchema, UnsupportedSchemaError } from './schema-value.js';

/** Arrays: the items of `prefixItems`, each with its schema, then `items`, where both together are as many as allowed. */
export function arrayExpression(compiler: SchemaCompiler, given: JsonSchema, path: string): Expression {
  const schema = Array.isArray(given.items) ? fromDraft7(given, path) : given;
  const { prefixItems = [], uniqueItems = false } = schema;
  if (!Array.isArray(prefixItems)) throw new UnsupportedSchemaError(path, '"prefixItems" must be a list');
  const min = countOf(schema, 'minItems', path, 0);
  const max = countOf(schema, 'maxItems', path, Infinity);
  if (uniqueItems !== false && max > 1) throw new UnsupportedSchemaError(path, '"uniqueItems" is not supported');
  if (min > max) return choice();
  const first = prefixItems
    .slice(0, max)
    .map((item, i) => compiler.private(() => compiler.expression(item, `${path}/prefixItems/${i}`)));
  // A tuple is closed where the schema does not say what may follow.
  const { items = first.length === 0 } = schema;
  const item = items === false ? choice() : compiler.private(() => compiler.expression(items, `${path}/items`));
  const [least, most] = [Math.max(0, min - first.length), max - first.length];
  const contents =
    first.length > 0
      ? sequence(
          ...first.flatMap((one, i) => (i === 0 ? [one] : [COMMA, one])),
          repeat(sequence(COMMA, item), least, most),
          SPACE,
        )
      : choice(
          ...(least === 0 ? [sequence()] : []),
          ...(most === 0
            ? []
            : [sequence(item, repeat(sequence(COMMA, item), Math.max(0, least - 1), most - 1), SPACE)]),
        );
  return sequence(literal('['), SPACE, contents, literal(']'));
}

/** Draft 7 writes a tuple as a list of `items`, and what follows it as `additionalItems`. */
function fromDraft7({ items, additionalItems, ...rest }: JsonSchema, path: string): JsonSchema {
  if ('prefixItems' in rest) throw new UnsupportedSchemaError(path, '"items" must be a schema beside "prefixItems"');
  return { ...rest, prefixItems: items, ...(additionalItems === undefined ? {} : { items: additionalItems }) };
}
