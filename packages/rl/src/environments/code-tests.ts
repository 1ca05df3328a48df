import { Key } from '@posttrain/core-tensor';
import { custom, excerpt, type Given, integer, options, type Verifier } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import { below, say, type TaskEnvironment, user } from './task-environment.js';

const codeTestsOptions = options('codeTests', {
  /** Runs a program under the tests of its row: `unitTests({ sandbox, score: 'fraction' })` of `@posttrain/sandbox`. */
  verifier: custom<Verifier>()(
    'a verifier ({ name, verify(requests) })',
    (value) => typeof (value as Partial<Verifier> | null)?.verify === 'function',
    { settings: ({ name }) => name },
  ),
  /** Programs that a reply may try. Default 3. */
  attempts: integer({ default: 3, min: 1 }),
});
/** Options of `codeTests`. */
export type CodeTestsOptions = Given<typeof codeTestsOptions>;

/** A function to be written in JavaScript, and its tests, as `unitTests` reads them. */
export interface CodeTestsRow extends PromptRow {
  readonly prompt: string;
  readonly entry_point: string;
  readonly test: readonly string[];
  readonly solution: string;
}

/**
 * Code with unit tests: a reply is a program; where not all tests pass, the reply is told what failed and may try again. The last one is worth the share of its
 * tests that pass. The oracle's is right at once: 1. Rows of your own may have any tests; `rows` draws functions that add, multiply and choose.
 *
 * @throws OptionError; what the verifier throws where it cannot run
 */
export function codeTests(given: CodeTestsOptions): TaskEnvironment<CodeTestsRow> {
  const { verifier, attempts } = codeTestsOptions.read(given);
  return {
    name: 'code-tests',
    settings: codeTestsOptions.settings(given),
    start(row, { signal }) {
      let tried = 0;
      return {
        messages: [user(row.prompt)],
        async step({ content }) {
          tried++;
          const request = { prompt: row.prompt, completion: content, row: { ...row }, ...(signal && { signal }) };
          const [verdict] = await verifier.verify([request]);
          const score = verdict?.score ?? 0;
          if (score >= 1 || tried === attempts) return { messages: [], reward: score, done: true };
          return {
            messages: [user(`It is not right yet: ${excerpt(verdict?.explanation ?? 'tests fail', 400)}`)],
            done: false,
          };
        },
      };
    },
    rows: (count, seed) => Array.from({ length: count }, (_, i) => drawRow(Key.fromSeed(seed).child(i))),
    oracle: ({ solution }) => say(`\`\`\`js\n${solution}\n\`\`\``),
    best: () => 1,
  };
}

const KINDS = [
  { words: (k: number) => `x plus ${k}`, code: (k: number) => `x + ${k}`, value: (x: number, k: number) => x + k },
  { words: (k: number) => `${k} times x`, code: (k: number) => `${k} * x`, value: (x: number, k: number) => k * x },
  {
    words: (k: number) => `the larger of x and ${k}`,
    code: (k: number) => `Math.max(x, ${k})`,
    value: (x: number, k: number) => Math.max(x, k),
  },
];

function drawRow(key: Key): CodeTestsRow {
  const draws = Array.from(key.uniformHost(2));
  const [kind, k] = [KINDS[below(draws[0]!, KINDS.length)]!, 2 + below(draws[1]!, 8)];
  return {
    prompt: `Write a JavaScript function f(x) that returns ${kind.words(k)}.`,
    entry_point: 'f',
    solution: `function f(x) { return ${kind.code(k)}; }`,
    test: [0, 1, k, 20].map((x) => `if (f(${x}) !== ${kind.value(x, k)}) throw new Error('f(${x}) is ' + f(${x}));`),
  };
}
