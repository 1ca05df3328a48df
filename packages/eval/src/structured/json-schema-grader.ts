import { type OutputUnit, type Schema, type SchemaDraft, Validator } from '@cfworker/json-schema';
import { type Given, oneOf, options, showValue, text, type Verifier } from '@posttrain/interfaces';
import { type CodeBlock, codeBlocks } from '@posttrain/interfaces/answers';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';

const shape = {
  /** Column of the schema: an object, or its JSON. Default `schema`. */
  schema: text({ default: 'schema' }),
  /** What is read: the completion as a whole (`whole`), or what stands in its last fenced block, where it has one (`fenced`). Default `whole`. */
  read: oneOf(['whole', 'fenced'], { default: 'whole' }),
};
const validOptions = options('jsonValidity', { read: shape.read });
const schemaOptions = options('schemaCompliance', shape);
const fieldOptions = options('jsonFields', {
  read: shape.read,
  /** Column of the object that is wanted. Default `value`. */
  value: text({ default: 'value' }),
});
/** Options of `jsonValidity`. */
export type JsonValidityOptions = Given<typeof validOptions>;
/** Options of `schemaCompliance`. */
export type SchemaComplianceOptions = Given<typeof schemaOptions>;
/** Options of `jsonFields`. */
export type JsonFieldsOptions = Given<typeof fieldOptions>;

/**
 * Whether a completion is JSON (RFC 8259; `json_validity` of lm-evaluation-harness's JSONSchemaBench, where Python's reader lets `NaN` through, too).
 *
 * @throws OptionError
 */
export function jsonValidity(given: JsonValidityOptions = {}): Verifier {
  const { read } = validOptions.read(given);
  return functionVerifier(`json ${read}`, ({ completion }) => jsonIn(completion, read) !== undefined);
}

/**
 * Whether a completion is JSON that its row's schema allows (`schema_compliance` of JSONSchemaBench, arXiv 2501.10868): by `@cfworker/json-schema`, drafts 4, 7, 2019-09 and 2020-12 by `$schema`
 * (without it 2020-12), formats included.
 *
 * @throws OptionError; EvaluationError `BAD_ROW` for a row without a schema, or whose schema refers to what is not there
 */
export function schemaCompliance(given: SchemaComplianceOptions = {}): Verifier {
  const { schema: column, read } = schemaOptions.read(given);
  return functionVerifier(`schema ${read}`, ({ completion, row }) => {
    const validator = validatorOf(row?.[column], `schemaCompliance: the column "${column}"`);
    const value = jsonIn(completion, read);
    return value !== undefined && schemaErrors(validator, value.json).length === 0;
  });
}

/**
 * The share of fields of a wanted object that a completion has as they are: leaves by their paths, lists as a whole. What is no JSON has none.
 *
 * @throws OptionError; EvaluationError `BAD_ROW` for a row without an object that has a field
 */
export function jsonFields(given: JsonFieldsOptions = {}): Verifier {
  const { value: column, read } = fieldOptions.read(given);
  return functionVerifier(`fields ${read}`, ({ completion, row }) => {
    const wanted = leavesOf(row?.[column]);
    if (wanted.size === 0)
      throw new EvaluationError('BAD_ROW', `jsonFields: the column "${column}" must be an object with fields.`);
    const said = leavesOf(jsonIn(completion, read)?.json);
    return [...wanted].filter(([path, leaf]) => said.get(path) === leaf).length / wanted.size;
  });
}

/** A validator of a schema. @throws EvaluationError `BAD_ROW` */
export function validatorOf(given: unknown, where: string): Validator {
  const schema = typeof given === 'string' ? jsonIn(given, 'whole')?.json : given;
  const isSchema =
    typeof schema === 'boolean' || (typeof schema === 'object' && schema !== null && !Array.isArray(schema));
  if (!isSchema)
    throw new EvaluationError(
      'BAD_ROW',
      `${where} must be a JSON Schema, as an object or as its text, not ${showValue(given)}.`,
    );
  return new Validator(schema as Schema | boolean, draftOf((schema as Schema).$schema), false);
}

/** What is wrong with a value. @throws EvaluationError `BAD_ROW` for a schema that cannot be followed */
export function schemaErrors(validator: Validator, value: unknown): OutputUnit[] {
  try {
    return validator.validate(value).errors;
  } catch (cause) {
    throw new EvaluationError('BAD_ROW', `a JSON Schema cannot be followed: ${(cause as Error).message}`, { cause });
  }
}

function draftOf(name: unknown): SchemaDraft {
  const found = /(draft-04|draft-06|draft-07|2019-09|2020-12)/.exec(String(name))?.[1] ?? '2020-12';
  return found === 'draft-04' ? '4' : found.startsWith('draft') ? '7' : (found as SchemaDraft);
}

const isJsonBlock = ({ language }: CodeBlock): boolean => language === '' || language === 'json';

function jsonIn(completion: string, read: 'whole' | 'fenced'): { readonly json: unknown } | undefined {
  const block = read === 'fenced' ? codeBlocks(completion).findLast(isJsonBlock)?.code : undefined;
  try {
    return { json: JSON.parse(block ?? completion) };
  } catch {
    return undefined;
  }
}

function leavesOf(value: unknown, path = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    if (path !== '') into.set(path, JSON.stringify(value));
    return into;
  }
  for (const [key, item] of Object.entries(value)) leavesOf(item, `${path}/${JSON.stringify(key)}`, into);
  return into;
}
