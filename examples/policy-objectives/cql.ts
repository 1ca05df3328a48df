// CQL from a log that lacks actions, beside Q-learning from the same log, cloning of who made it, and rewards that say nothing. Three seeds. Cells that `results/cql.json` has are not run again.
import { join } from 'node:path';
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { cql, qPolicy, syncTargets, withQHeads } from '@posttrain/rl';
import { sft, Trainer, type TrainingRow, update } from '@posttrain/training';
import { cellsOf } from '../background-rl/cells.js';
import { LETTERS, modelOf } from '../background-rl/letters.js';
import { interval, table } from '../background-rl/tables.js';

/**
 * Most letters of an answer, which is worth the share of them that are the prompt's. A quarter is paid for each of those (gains), or taken for each other
 * (costs): of answers of four letters that is the same order of policies, and of Q that begins near 0 it is not, where an action that nobody took stays there.
 */
const MOST = 4;
// Q-learning from a log that has every action learns the task by these, of seeds 7 and 8; no arm of the study had a part in the choice.
const [UPDATES, BATCH, RATE, GAMMA] = [600, 56, 0.01, 0.9];

/** An answer to a prompt, letter by letter. */
interface Logged {
  readonly letter: number;
  readonly actions: readonly number[];
  /** Of each. */
  readonly rewards: readonly number[];
}

type Paid = 'gains' | 'costs' | 'random';

/** What the log has after a prompt, alike often at every place: its letter, and three that are worth nothing; neither the other three nor the end. */
const seenOf = (letter: number): readonly number[] => [0, 1, 2, 3].map((i) => (letter + i) % LETTERS.length);

const rewardOf: Readonly<Record<Paid, (isRight: boolean, chance: number) => number>> = {
  gains: (isRight) => Number(isRight),
  costs: (isRight) => Number(isRight) - 1,
  // As the costs of a log of these letters, by chance.
  random: (_, chance) => -Number(chance < 0.75),
};

const worthOf = (letter: number, actions: readonly number[]): number =>
  actions.filter((action) => action === letter).length / MOST;

/** 32 answers to each prompt. */
function logOf(paid: Paid, seed: number): Logged[] {
  const [random, others] = [createRandom(seed), createRandom(500 + seed)];
  return LETTERS.flatMap((_, letter) =>
    Array.from({ length: 32 }, (): Logged => {
      const seen = seenOf(letter);
      const actions = Array.from({ length: MOST }, () => seen[random.integer(0, seen.length - 1)]!);
      const chances = actions.map(() => others.float());
      return { letter, actions, rewards: actions.map((a, t) => rewardOf[paid](a === letter, chances[t]!) / MOST) };
    }),
  );
}

function rowOf({ letter, actions, rewards }: Logged, count: number): TrainingRow {
  return {
    tokens: [letter, letter, ...actions],
    weights: [0, ...actions.map(() => 1 / actions.length / count)],
    annotations: { rewards: [0, ...rewards] },
  };
}

async function learnt(log: readonly Logged[], alpha: number, seed: number): Promise<CausalLM> {
  const trainer = await Trainer.create(withQHeads(await modelOf(seed), seed), { optimizer: 'adamw_torch' });
  const loss = cql({ gamma: GAMMA, alpha });
  const random = createRandom(1000 + seed);
  for (let i = 0; i < UPDATES; i++) {
    const batch = Array.from({ length: BATCH }, () => log[random.integer(0, log.length - 1)]!);
    const rows = batch.map((one) => rowOf(one, BATCH));
    await update(trainer, rows, loss, RATE * (1 - i / UPDATES));
    await syncTargets(trainer, { alpha: 0.1 });
  }
  return qPolicy(trainer.model);
}

async function cloned(log: readonly Logged[], seed: number): Promise<CausalLM> {
  const rows = log.map(({ letter, actions }) => ({
    prompt: LETTERS[letter]! + LETTERS[letter]!,
    completion: actions.map((action) => LETTERS[action]!).join(''),
  }));
  const given = { model: await modelOf(seed), rows, seed, steps: UPDATES, batchSize: BATCH, learningRate: RATE };
  return (await sft({ ...given, schedule: 'linear', onWarning: () => {} })).trainer.model as CausalLM;
}

/** What answers are worth, and the share of their letters (and ends) that the log never has after their prompt. */
async function measured(policy: CausalLM, temperature: number, seed: number): Promise<readonly [number, number]> {
  const n = temperature === 0 ? 1 : 64;
  const found = await new LocalGenerator(policy).generate(
    LETTERS.map((x, i) => ({ prompt: x + x, n, maxTokens: MOST, temperature, seed: 10_000 * seed + 100 * i })),
  );
  let [worth, unseen, drawn] = [0, 0, 0];
  found.forEach((answers, letter) => {
    for (const { tokenIds } of answers) {
      worth += worthOf(letter, tokenIds!) / n / LETTERS.length;
      drawn += tokenIds!.length;
      unseen += tokenIds!.filter((id) => !seenOf(letter).includes(id)).length;
    }
  });
  return [worth, unseen / drawn];
}

const q = (alpha: number, paid: Paid) => async (seed: number) =>
  measured(await learnt(logOf(paid, seed), alpha, seed), 0, seed);
const cloning = (temperature: number) => async (seed: number) =>
  measured(await cloned(logOf('gains', seed), seed), temperature, seed);
const ARMS: Readonly<Record<string, (seed: number) => Promise<readonly [number, number]>>> = {
  'CQL, gains': q(1, 'gains'),
  'Q-learning, gains': q(0, 'gains'),
  'CQL, costs': q(1, 'costs'),
  'Q-learning, costs': q(0, 'costs'),
  'cloning, sampled': cloning(1),
  'cloning, greedy': cloning(0),
  'CQL, random costs': q(1, 'random'),
  'Q-learning, random costs': q(0, 'random'),
  'CQL, costs, α 0.25': q(0.25, 'costs'),
  'CQL, gains, α 0.25': q(0.25, 'gains'),
};

const { ofSeeds } = cellsOf(join(import.meta.dirname, 'results'));
const found = new Map<string, (readonly [number, number])[]>();
for (const [arm, cell] of Object.entries(ARMS)) found.set(arm, await ofSeeds('cql', arm, cell));
const own = found.get('CQL, costs')!;
table(
  ['policy', 'worth', 'of actions that the log lacks', 'CQL of costs is worth more by'],
  [...found].map(([arm, cells]) => [
    arm,
    interval(cells.map(([worth]) => worth)),
    interval(cells.map(([, unseen]) => unseen)),
    cells === own ? '' : interval(cells.map(([worth], s) => own[s]![0] - worth)),
  ]),
);
