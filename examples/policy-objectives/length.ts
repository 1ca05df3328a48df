// Long to short: a policy that has learnt to be right goes on learning with a length penalty, beside the same run without one, with three
// seeds. Cells that `length.json` has are not run again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CausalLM } from '@posttrain/lm';
import { lengthPenalty, policyObjectives, trainPolicy } from '@posttrain/rl';
import { LETTERS, modelOf } from '../background-rl/letters.js';
import { interval } from '../background-rl/tables.js';

const MOST = 10;

/** Right is a completion that has the prompt's letter somewhere and has ended; how long it is does not matter. */
const isRight = (text: string, letter: string, finishReason: string): number =>
  Number(finishReason === 'stop' && text.includes(letter));

async function train(model: CausalLM, seed: number, steps: number, penalty: number) {
  return trainPolicy({
    ...{ model, rows: LETTERS.map((letter) => ({ prompt: letter + letter, letter })) },
    objective: policyObjectives.dr_grpo(),
    rewards: {
      right: (completion, { row, finishReason }) => isRight(completion, row.letter, finishReason),
      short: { verifier: lengthPenalty({ maxCompletionLength: MOST }), weight: penalty },
    },
    ...{
      steps,
      promptsPerStep: 4,
      completionsPerPrompt: 8,
      iterationsPerBatch: 2,
      maxCompletionLength: MOST,
      schedule: 'constant',
    },
    ...{ learningRate: 0.03, seed },
  });
}

interface Arm {
  readonly accuracy: number;
  readonly length: number;
}
interface Cell {
  readonly before: Arm;
  readonly control: Arm;
  readonly penalty: Arm;
}

/** Of the last ten steps. */
function armOf({ history }: Awaited<ReturnType<typeof train>>): Arm {
  const mean = (name: string) => history.slice(-10).reduce((sum, { metrics }) => sum + metrics[name]!, 0) / 10;
  const round = (x: number) => Number(x.toFixed(4));
  return { accuracy: round(mean('rewards/right/mean')), length: round(mean('completions/mean_length')) };
}

async function cell(seed: number): Promise<Cell> {
  const model = await modelOf(seed);
  const first = await train(model, seed, 90, 0);
  const on = (penalty: number) => train(first.trainer.model, seed + 100, 30, penalty);
  return { before: armOf(first), control: armOf(await on(0)), penalty: armOf(await on(0.3)) };
}

const FILE = join(import.meta.dirname, 'length.json');
const results: Record<string, Cell> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
for (const seed of [1, 2, 3]) {
  if (seed in results) continue;
  results[seed] = await cell(seed);
  writeFileSync(FILE, `${JSON.stringify(results, undefined, 2)}\n`);
}
const cells = Object.values(results);
console.log('| | right | tokens |\n| --- | --- | --- |');
for (const [name, of] of [
  ['right only, first half', ({ before }: Cell) => before],
  ['right only, second half (control)', ({ control }: Cell) => control],
  ['with the length penalty, second half', ({ penalty }: Cell) => penalty],
] as const) {
  console.log(
    `| ${name} | ${interval(cells.map((one) => of(one).accuracy))} | ${interval(cells.map((one) => of(one).length))} |`,
  );
}
const difference = (of: (arm: Arm) => number) =>
  interval(cells.map(({ penalty, control }) => of(penalty) - of(control)));
console.log(`| difference | ${difference(({ accuracy }) => accuracy)} | ${difference(({ length }) => length)} |`);
