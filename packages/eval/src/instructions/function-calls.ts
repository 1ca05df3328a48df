import { isPlainObject, showValue, type Verifier } from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { type PythonCall, type PythonNode, parsePython } from '../python/expression.js';

/** A function as BFCL describes it: JSON Schema with Python's names of types. */
export interface FunctionDescription {
  readonly name: string;
  readonly description?: string;
  readonly parameters: {
    readonly properties: Readonly<
      Record<string, { readonly type: string; readonly items?: { readonly type: string } }>
    >;
    readonly required: readonly string[];
  };
}

/** What a call may be: for each argument the values that are right; `""` among them: it may be left out. */
export type PossibleAnswer = Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>>;

/** A value of an argument: Python tells whole numbers from others, and lists from tuples. */
type Value = PythonNode;
/** A call as it is judged: its arguments by name. Those by place are not looked at, as in BFCL. */
interface Call {
  readonly name: string;
  readonly args: ReadonlyMap<string, Value>;
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'str',
  integer: 'int',
  float: 'float',
  boolean: 'bool',
  array: 'list',
  tuple: 'list',
  dict: 'dict',
  any: 'str',
};

/**
 * Calls that a completion makes, in Python's form: `f(a=1)` or `[f(a=1), g()]`, without anything around them (quotes go).
 * @throws EvaluationError `PYTHON_EXPRESSION`
 */
export function parseFunctionCalls(text: string): PythonCall[] {
  const node = parsePython(strip(text).replace(/^'+|'+$/g, ''));
  const calls = node.kind === 'list' || node.kind === 'tuple' ? node.items : [node];
  const other = calls.find(({ kind }) => kind !== 'call');
  if (other) throw new EvaluationError('PYTHON_EXPRESSION', `A list of calls has a ${other.kind} in it.`);
  return calls as PythonCall[];
}

/** Which rule of BFCL a row is judged by: `parallel` pairs several calls with several answers in any order, the others want one call. */
export type FunctionCallCategory = 'simple' | 'multiple' | 'parallel';

/**
 * BFCL's check of calls by their syntax tree (Berkeley Function Calling Leaderboard; Patil et al. 2025), for Python: the function, required
 * and unexpected arguments, types, and a value among the right ones, where texts are compared without spaces, case and `,./-_*^`.
 * `null` where the calls are right, else why not.
 *
 * @throws EvaluationError `BAD_ROW` for a description or an answer that is not as BFCL has them
 */
export function checkFunctionCalls(
  category: FunctionCallCategory,
  functions: readonly FunctionDescription[],
  calls: readonly PythonCall[],
  answers: readonly PossibleAnswer[],
): string | null {
  const made = calls.map(({ name, named }): Call => ({ name, args: new Map(named) }));
  if (made.length !== answers.length) return `there are ${made.length} calls, and ${answers.length} are right`;
  const describe = (answer: PossibleAnswer): FunctionDescription => {
    const [name] = Object.keys(answer);
    const found = category === 'simple' ? functions[0] : functions.find((one) => one.name === name);
    if (found) return found;
    throw new EvaluationError('BAD_ROW', `bfcl: an answer calls ${showValue(name)}, which is not described.`);
  };
  if (category !== 'parallel') return checkCall(describe(answers[0]!), made[0]!, answers[0]!);
  const left = new Set(made);
  for (const answer of answers) {
    const match = [...left].find((call) => checkCall(describe(answer), call, answer) === null);
    if (!match) return `no call matches ${JSON.stringify(answer)}`;
    left.delete(match);
  }
  return null;
}

function checkCall(description: FunctionDescription, { name, args }: Call, possible: PossibleAnswer): string | null {
  const right = Object.values(possible)[0]!;
  const { properties, required } = description.parameters;
  if (name !== description.name) return `it calls ${name} and not ${description.name}`;
  const missing = required.find((one) => !args.has(one));
  if (missing !== undefined) return `the required argument ${missing} is missing`;
  for (const [argument, value] of args) {
    if (!Object.hasOwn(properties, argument) || !Object.hasOwn(right, argument))
      return `the argument ${argument} is not expected`;
    const problem = checkArgument(argument, value, properties[argument]!, right[argument]!);
    if (problem !== null) return problem;
  }
  const unsaid = Object.keys(right).find((one) => !args.has(one) && !right[one]!.includes(''));
  return unsaid === undefined ? null : `the argument ${unsaid} is missing`;
}

function checkArgument(
  argument: string,
  given: Value,
  { type, items }: FunctionDescription['parameters']['properties'][string],
  right: readonly unknown[],
): string | null {
  const expected = Object.hasOwn(TYPES, type) ? TYPES[type]! : undefined;
  if (expected === undefined)
    throw new EvaluationError(
      'BAD_ROW',
      `bfcl: the type ${showValue(type)} of ${argument} is none of ${Object.keys(TYPES).join(', ')}.`,
    );
  const isNested = type === 'array' || type === 'tuple';
  const inner = isNested ? TYPES[items?.type ?? ''] : undefined;
  if (isNested && inner === undefined)
    throw new EvaluationError('BAD_ROW', `bfcl: ${argument} is an ${type}, whose "items" have no known type.`);
  const value = adapted(given, type);
  const checked = checkType(value, right, expected, inner);
  if (checked === 'wrong') return `the argument ${argument} has the wrong type`;
  const wrong = `the value of ${argument} is not right`;
  if (checked === 'right') {
    if (expected === 'dict') return dictMatches(value, right) ? null : wrong;
    if (expected === 'list' && inner === 'dict') return listOfDictsMatches(value, right) ? null : wrong;
    if (expected === 'str')
      return right.some((one) => typeof one === 'string' && standard(one) === standard(textOf(value))) ? null : wrong;
    if (expected === 'list')
      return right.some((one) => Array.isArray(one) && same(standardized(value), one.map(standardOf))) ? null : wrong;
  }
  return right.some((one) => same(plainOf(value), one)) ? null : wrong;
}

/** Whole numbers may stand for others, tuples for what is described as one. */
function adapted(value: Value, type: string): Value {
  if (type === 'float' && value.kind === 'int') return { kind: 'float', value: value.value };
  if (type === 'tuple' && value.kind === 'tuple') return { kind: 'list', items: value.items };
  return value;
}

/** Python's type of a value; a name or a call stands for its text. */
const kindOf = ({ kind }: Value): string => (kind === 'name' || kind === 'call' ? 'str' : kind);

/** Python's type of an answer of a JSON file; whole numbers of it are taken for `int`. */
function answerKind(answer: unknown): string {
  if (answer === null) return 'none';
  if (Array.isArray(answer)) return 'list';
  if (typeof answer === 'number') return Number.isInteger(answer) ? 'int' : 'float';
  return { string: 'str', boolean: 'bool', object: 'dict' }[typeof answer as 'string'] ?? 'other';
}

/** `variable`: the value has not the type that is described, and that of the right answers. */
function checkType(
  value: Value,
  right: readonly unknown[],
  expected: string,
  inner: string | undefined,
): 'right' | 'variable' | 'wrong' {
  const first = right.find((one) => one !== '');
  // JSON writes 2.0 as 2.
  const said = first === undefined ? undefined : answerKind(first);
  const kind = said === 'int' && expected === 'float' ? 'float' : said;
  const isVariable = kind !== undefined && kind !== expected;
  if (kindOf(value) === expected) {
    if (inner === undefined) return isVariable ? 'variable' : 'right';
    const fits = right.some(
      (one) =>
        !Array.isArray(one) || itemsOf(value).every((item) => checkType(item, one, inner, undefined) !== 'wrong'),
    );
    if (fits) return isVariable ? 'variable' : 'right';
  }
  return kind !== undefined && kindOf(value) === kind ? 'variable' : 'wrong';
}

const itemsOf = (value: Value): readonly Value[] => ('items' in value ? value.items : []);

/** A text without spaces, case and some punctuation, and with double quotes. */
const standard = (text: string): string =>
  text
    .replace(/[ ,./\-_*^]/g, '')
    .toLowerCase()
    .replaceAll("'", '"');
const standardOf = (value: unknown): unknown => (typeof value === 'string' ? standard(value) : value);
const standardized = (value: Value): unknown => itemsOf(value).map((item) => standardOf(plainOf(item)));
const textOf = (value: Value): string => String(plainOf(value));

function plainOf(value: Value): unknown {
  switch (value.kind) {
    case 'none':
      return null;
    case 'bool':
    case 'int':
    case 'float':
    case 'str':
      return value.value;
    case 'list':
    case 'tuple':
    case 'set':
      return value.items.map(plainOf);
    case 'dict':
      return Object.fromEntries(value.entries.map(([key, of]) => [String(plainOf(key)), plainOf(of)]));
    case 'name':
      return value.name;
    case 'call':
      return value.named.length === 0
        ? `${value.name}(${value.args.map(textOf).join(', ')})`
        : { [value.name]: Object.fromEntries(value.named.map(([key, of]) => [key, plainOf(of)])) };
  }
}

/** `==` of Python between plain values: True is 1. */
function same(a: unknown, b: unknown): boolean {
  const plain = (value: unknown) => (typeof value === 'boolean' ? Number(value) : value);
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => same(one, b[i]));
  if (isPlainObject(a) && isPlainObject(b)) {
    const [left, other] = [a as Record<string, unknown>, b as Record<string, unknown>];
    const keys = Object.keys(left);
    return (
      keys.length === Object.keys(other).length && keys.every((key) => key in other && same(left[key], other[key]))
    );
  }
  return plain(a) === plain(b);
}

function dictMatches(value: Value, right: readonly unknown[]): boolean {
  const said = plainOf(value) as Record<string, unknown>;
  return right.some((one) => {
    if (!isPlainObject(one)) return false;
    const possible = one as Readonly<Record<string, readonly unknown[]>>;
    const known = Object.entries(said).every(
      ([key, of]) =>
        Object.hasOwn(possible, key) && possible[key]!.some((each) => same(standardOf(of), standardOf(each))),
    );
    return known && Object.entries(possible).every(([key, of]) => key in said || of.includes(''));
  });
}

function listOfDictsMatches(value: Value, right: readonly unknown[]): boolean {
  const items = itemsOf(value);
  return right.some(
    (one) => Array.isArray(one) && one.length === items.length && items.every((item, i) => dictMatches(item, [one[i]])),
  );
}

/** A row of BFCL with the answers of its second file. */
export interface FunctionCallRow {
  readonly id: string;
  readonly question: readonly (readonly { readonly role: string; readonly content: string }[])[];
  readonly function: readonly FunctionDescription[];
  readonly ground_truth: readonly PossibleAnswer[];
}

/**
 * A grader of calls by their syntax tree: 1 where `checkFunctionCalls` finds nothing wrong. The category is that of the row's id (`parallel_…`,
 * `multiple_…`, else simple), as in BFCL. A completion that is no list of calls is wrong.
 */
export function functionCalls(): Verifier {
  return ruleVerifier('functionCalls', {}, ({ completion, row }) => {
    const { id = '', function: functions, ground_truth: answers } = (row ?? {}) as Partial<FunctionCallRow>;
    if (!Array.isArray(functions) || !Array.isArray(answers))
      throw new EvaluationError('BAD_ROW', 'functionCalls: a row needs the lists "function" and "ground_truth".');
    const category = /parallel/.test(id) ? 'parallel' : /multiple/.test(id) ? 'multiple' : 'simple';
    let calls: PythonCall[];
    try {
      calls = parseFunctionCalls(completion);
    } catch (error) {
      return { score: 0, explanation: (error as Error).message };
    }
    const problem = checkFunctionCalls(category, functions, calls, answers);
    return { score: Number(problem === null), explanation: problem ?? 'right' };
  });
}
