import { assertKnownOptions, type Constraint } from '@posttrain/interfaces';
import type { Tokenizer } from '../tokenizer/index.js';
import { TokenBytesError } from '../tokenizer/token-bytes.js';
import { type AutomatonParts, automatonParts } from './automaton-parts.js';
import { parseEbnf } from './ebnf.js';
import { type Expression, type Grammar, InvalidConstraintError, words } from './expression.js';
import { CompiledConstraint, TokenTable } from './grammar-constraint.js';
import { jsonSchemaGrammar } from './json-schema.js';
import { jsonGrammar } from './json-text.js';
import { parseRegex } from './regex.js';

/** LRU of compiled constraints for a tokenizer: at most so many, and of so many bytes. */
const MOST_KEPT = 32;
const MOST_BYTES = 2 ** 26;

interface Kept {
  readonly table: TokenTable;
  readonly constraints: Map<string, CompiledConstraint>;
}

const kept = new WeakMap<Tokenizer, Kept>();

/**
 * Compiles a constraint over the tokens of a tokenizer, memoised.
 * @throws InvalidConstraintError, and TokenBytesError for a tokenizer whose tokens are not bytes
 */
export function compileConstraint(tokenizer: Tokenizer, constraint: Constraint): CompiledConstraint {
  const it = keptOf(tokenizer);
  const key = JSON.stringify(constraint);
  return keep(it, key, it.constraints.get(key) ?? new CompiledConstraint(constraintAutomaton(constraint), it.table));
}

/**
 * The same, for a constraint whose automaton is built somewhere else, in another thread.
 *
 * @param build gives `constraintAutomaton` the constraint that the JSON text is
 * @throws what `compileConstraint` and `build` throw
 */
export async function compileConstraintWith(
  tokenizer: Tokenizer,
  constraint: Constraint,
  build: (text: string) => Promise<AutomatonParts>,
): Promise<CompiledConstraint> {
  const it = keptOf(tokenizer);
  const key = JSON.stringify(constraint);
  const known = it.constraints.get(key);
  if (known) return keep(it, key, known);
  const parts = await build(key);
  return keep(it, key, it.constraints.get(key) ?? new CompiledConstraint(parts, it.table));
}

/** Makes it the constraint that was used last, for which others may have to go. */
function keep({ constraints }: Kept, key: string, used: CompiledConstraint): CompiledConstraint {
  constraints.delete(key);
  constraints.set(key, used);
  let bytes = [...constraints].reduce((sum, [name, { bytes }]) => sum + bytes + 2 * name.length, 0);
  for (const [name, oldest] of constraints) {
    if (oldest === used || (constraints.size <= MOST_KEPT && bytes <= MOST_BYTES)) break;
    constraints.delete(name);
    bytes -= oldest.bytes + 2 * name.length;
  }
  return used;
}

function keptOf(tokenizer: Tokenizer): Kept {
  const found = kept.get(tokenizer) ?? { table: new TokenTable(tokenizer), constraints: new Map() };
  kept.set(tokenizer, found);
  return found;
}

/** Warm-up: builds ahead what the first constraint would wait for. */
export function prepareConstraints(tokenizer: Tokenizer): void {
  try {
    keptOf(tokenizer);
  } catch (error) {
    // Said to whoever asks for a constraint.
    if (!(error instanceof TokenBytesError)) throw error;
  }
}

/** The automaton of a constraint, which does not depend on any tokenizer. @throws InvalidConstraintError */
export function constraintAutomaton(constraint: Constraint): AutomatonParts {
  try {
    return automatonParts(grammarOf(constraint));
  } catch (error) {
    // The engine's own limit of calls.
    if (error instanceof RangeError) throw new InvalidConstraintError('it is nested too deeply');
    throw error;
  }
}

/** The texts that a constraint allows. @throws InvalidConstraintError */
export function grammarOf(constraint: Constraint): Grammar {
  const only = (...keys: string[]) =>
    assertKnownOptions(`constraint ${constraint.type}`, constraint, ['type', ...keys]);
  const alone = (expression: Expression): Grammar => ({ rules: new Map([['root', expression]]), root: 'root' });
  switch (constraint.type) {
    case 'regex':
      only('pattern');
      return alone(parseRegex(constraint.pattern));
    case 'json-schema':
      only('schema');
      return jsonSchemaGrammar(constraint.schema);
    case 'json':
      only();
      return jsonGrammar();
    case 'grammar':
      only('ebnf');
      return parseEbnf(constraint.ebnf);
    case 'choice':
      only('choices');
      return alone(words(constraint.choices));
    default:
      throw new InvalidConstraintError(
        `there is no type ${JSON.stringify((constraint as { type?: unknown }).type)}; known are regex, json-schema, json, grammar, choice`,
      );
  }
}
