import { expect } from 'vitest';
import { Automaton, type AutomatonState } from '../../src/constraint/automaton.js';
import type { Grammar } from '../../src/constraint/expression.js';
import { TokenTable } from '../../src/constraint/grammar-constraint.js';
import { jsonSchemaGrammar } from '../../src/constraint/json-schema.js';
import { Tokenizer } from '../../src/index.js';
import { tokenizerFolder } from '../support.js';

export const TOKENIZERS = ['byte-level-bpe', 'sentencepiece-bpe', 'unigram'] as const;

const tables = new Map<string, { tokenizer: Tokenizer; table: TokenTable }>();

export async function tableOf(kind: string): Promise<{ tokenizer: Tokenizer; table: TokenTable }> {
  const known = tables.get(kind);
  if (known) return known;
  const tokenizer = await Tokenizer.load(tokenizerFolder(kind));
  const made = { tokenizer, table: new TokenTable(tokenizer) };
  tables.set(kind, made);
  return made;
}

/** Whether a grammar has a text, read byte by byte. */
export function acceptor(grammar: Grammar): (text: string) => boolean {
  const automaton = new Automaton(grammar);
  return (text) => {
    let state: AutomatonState | null = automaton.start;
    for (const byte of Buffer.from(text, 'utf8')) state = state && automaton.step(state, byte);
    return state?.isAccepting === true;
  };
}

/** Pseudo-random numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = (seed * 2654435761) % 2147483647 || 1;
  return () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647;
  };
}

export type Schema = Readonly<Record<string, unknown>>;

/** A random text of a grammar, byte by byte; undefined when it does not end in time. Ends as soon as `wantsEnd` says. */
export function textOf(schema: Schema, seed: number): string | undefined {
  const automaton = new Automaton(jsonSchemaGrammar(schema));
  const uniform = random(seed);
  let state = automaton.start;
  const bytes: number[] = [];
  for (let step = 0; step < 600; step++) {
    const ways = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => automaton.step(state, byte));
    if (state.isAccepting && (ways.length === 0 || uniform() < 0.5)) return Buffer.from(bytes).toString('utf8');
    expect(ways.length, 'a way on').toBeGreaterThan(0);
    // What ends strings, objects and arrays comes often, or nothing would ever end.
    const closing = ways.filter((byte) => '"}]'.includes(String.fromCharCode(byte)));
    const from = closing.length > 0 && uniform() < 0.3 ? closing : ways;
    const byte = from[Math.floor(uniform() * from.length)]!;
    bytes.push(byte);
    state = automaton.step(state, byte)!;
  }
  return undefined;
}
