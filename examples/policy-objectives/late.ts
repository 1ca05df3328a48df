// A reward that comes late: of five letters the first decides, and it is paid behind the last. Whether credit that finds the deciding token saves steps, beside the
// same advantage on all tokens, with three seeds. Cells that `results/late.json` has are not run again.
import { join } from 'node:path';
import { ValueModel } from '@posttrain/lm';
import {
  contrastiveSteps,
  type PolicyObjectiveParts,
  policyObjectives,
  trainPolicy,
  valueModelCritic,
} from '@posttrain/rl';
import { cellsOf } from '../background-rl/cells.js';
import { LETTERS, modelOf, noise } from '../background-rl/letters.js';
import { interval, table } from '../background-rl/tables.js';

const ROWS = LETTERS.map((letter) => ({ prompt: letter + letter, letter }));
const STEPS = 14;

type Arm = 'one for all tokens' | 'contrastive steps' | 'temporal differences' | 'random reward';
const objectives: Readonly<Record<Arm, (seed: number) => PolicyObjectiveParts | Promise<PolicyObjectiveParts>>> = {
  'one for all tokens': () => policyObjectives.dr_grpo(),
  // Every letter is a step.
  'contrastive steps': () => ({
    ...policyObjectives.dr_grpo(),
    advantage: contrastiveSteps({ stepTokens: LETTERS.map((_, id) => id) }),
  }),
  'temporal differences': async (seed) => {
    const critic = await valueModelCritic(await ValueModel.fromCausalLM(await modelOf(seed)), { learningRate: 0.01 });
    return policyObjectives.ppo({ critic, beta: 0, lambda: 0.9 });
  },
  'random reward': () => policyObjectives.dr_grpo(),
};

/** The mean of the true reward over all steps but the first, and of the last three. */
async function cell(arm: Arm, seed: number): Promise<readonly [number, number]> {
  const isRandom = arm === 'random reward';
  const { history } = await trainPolicy({
    ...{ model: await modelOf(seed), rows: ROWS, objective: await objectives[arm](seed) },
    rewards: {
      first: {
        verifier: (text: string, { row }: { row: { letter: string } }) => Number(text.startsWith(row.letter)),
        weight: isRandom ? 0 : 1,
      },
      random: { verifier: (text: string) => noise(text, seed), weight: isRandom ? 1 : 0 },
    },
    ...{ steps: STEPS, promptsPerStep: 7, completionsPerPrompt: 8, maxCompletionLength: 5, iterationsPerBatch: 2 },
    ...{ learningRate: 0.01, schedule: 'constant', seed },
  });
  const seen = history.map(({ metrics }) => metrics['rewards/first/mean']!);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return [mean(seen.slice(1)), mean(seen.slice(-3))];
}

const { ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));
const found = new Map<Arm, (readonly [number, number])[]>();
for (const arm of Object.keys(objectives) as Arm[])
  found.set(arm, await ofSeeds('late', arm, (seed) => cell(arm, seed)));
const base = found.get('one for all tokens')!;
table(
  ['credit', 'right, all steps', 'more than one for all', 'right, last three'],
  [...found].map(([arm, cells]) => [
    arm,
    interval(cells.map(([all]) => all)),
    cells === base ? '' : interval(cells.map(([all], i) => all - base[i]![0])),
    interval(cells.map(([, last]) => last)),
  ]),
);
