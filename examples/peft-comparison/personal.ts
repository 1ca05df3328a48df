/**
 * An adapter a user over one base, and what one user's says of another: `npx tsx examples/peft-comparison/personal.ts`. See README.md.
 *
 * Every user's rows hold a secret, a number of three digits. Measured are the bits of what another user is answered, before and after
 * this one's adapter is trained, alone and in one pass with it; and the exposure of the secret (arXiv 1802.08232): log2 of the number
 * of candidates less log2 of its rank among them, by their likelihood. Then Ann's rows hold four secrets, each in one row, and her
 * adapter is trained with what her privacy may cost (`privacyBudget`), beside plain training and beside clipped rows without noise.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { createRandom } from '@posttrain/interfaces/random';
import { type Adapter, type CausalLM, ModelRunner, NO_ADAPTER } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter } from '@posttrain/peft';
import {
  dpSgd,
  noiseMultiplierFor,
  predictions,
  privacyBudget,
  sft,
  sftStage,
  Trainer,
  tokenizeRows,
  toTrainingRows,
} from '@posttrain/training';
import { baseModel } from './base-model.js';
import { overSeeds } from './report.js';
import { SEEDS, SIZE } from './study.js';
import { splitOf, type TaskRow } from './tasks.js';

const USERS = ['ann', 'bob'] as const;
const PROBE = 'before fh:';

export interface PersonalSize {
  readonly pretrainSteps: number;
  readonly steps: number;
  readonly candidates: number;
}
const FULL_SIZE: PersonalSize = { pretrainSteps: SIZE.pretrainSteps, steps: 120, candidates: 1000 };

/** What came of one seed. */
export interface PersonalRun {
  readonly seed: number;
  /** Numbers of Bob's logits that Ann's training has changed: alone, and in one pass with hers. */
  readonly changedBits: number;
  readonly changedBitsInOnePass: number;
  /** Of Ann's secret, in bits: under her adapter, under Bob's and under the base; all there is, and what chance gives on average. */
  readonly exposure: { readonly own: number; readonly other: number; readonly base: number };
}

const pinOf = (number: number): string => String(number).padStart(3, '0');
const asked = (user: string): string => `pin of ${user}:`;

export async function runPersonal(seed: number, size: PersonalSize = FULL_SIZE, runs?: string): Promise<PersonalRun> {
  const model = await baseModel(seed, size.pretrainSteps, runs);
  const random = createRandom(seed, 'secrets');
  const secrets = USERS.map(() => Math.floor(random.float() * size.candidates));
  const tuned = async (i: number): Promise<PeftAdapter> => {
    const own = { prompt: asked(USERS[i]!), completion: pinOf(secrets[i]!) };
    const rows: TaskRow[] = splitOf('before', seed)
      .train.slice(100 * i, 100 * i + 100)
      .flatMap((row) => [row, own]);
    const start = await createAdapter(model, lora, { targetModules: 'all-linear' }, { seed: i, name: USERS[i]! });
    const trained = await sft({
      ...{ model, adapter: start, rows, steps: size.steps, seed, batchSize: 16, learningRate: 1e-2 },
      ...{ schedule: 'cosine', warmupSteps: Math.ceil(size.steps / 20), onWarning: () => {} },
    });
    return trained.adapter as unknown as PeftAdapter;
  };
  const bob = await tuned(1);
  const untrained = (await createAdapter(model, lora, { targetModules: 'all-linear' }, { seed: 0 })) as PeftAdapter;
  const [alone, together] = [await bits(model, [bob]), await bits(model, [untrained, bob])];
  const ann = await tuned(0);
  const exposureIn = (adapter?: PeftAdapter) => exposure(model, adapter, asked(USERS[0]), secrets[0]!, size.candidates);
  return {
    seed,
    changedBits: differences(alone, await bits(model, [bob])),
    changedBitsInOnePass: differences(together, await bits(model, [ann, bob])),
    exposure: { own: await exposureIn(ann), other: await exposureIn(bob), base: await exposureIn() },
  };
}

/** The logits of the last row of a pass, each with its adapter. */
async function bits(model: CausalLM, adapters: readonly Adapter[]): Promise<Int32Array> {
  const runner = new ModelRunner(model, { packWeights: false });
  const tokens = model.tokenizer.encode(PROBE);
  const rows = [...adapters, NO_ADAPTER].map((adapter) => ({ sequence: runner.start(), tokens, adapter }));
  const results = await runner.extend(rows.slice(0, adapters.length));
  const logits = results.at(-1)!.logits[0]!;
  return new Int32Array(Float32Array.from(logits).buffer);
}

const differences = (a: Int32Array, b: Int32Array): number => a.reduce((sum, x, i) => sum + Number(x !== b[i]), 0);

async function exposure(
  model: CausalLM,
  adapter: PeftAdapter | undefined,
  prompt: string,
  secret: number,
  candidates: number,
): Promise<number> {
  const trainer = await Trainer.create(model, { optimizer: 'sgd', ...(adapter && { adapter }) });
  const rows = Array.from({ length: candidates }, (_, i) => ({ prompt, completion: pinOf(i) }));
  const training = toTrainingRows(tokenizeRows(model, rows).rows);
  const { logProbs } = await trainer.read(training, predictions());
  const likelihood = training.map(({ weights }, i) =>
    Array.from(weights, (weight, t) => (weight > 0 ? logProbs![i]![t]! : 0)).reduce((a, b) => a + b, 0),
  );
  const rank = likelihood.filter((one) => one > likelihood[secret]!).length + 1;
  return Math.log2(candidates) - Math.log2(rank);
}

/** What Ann has secrets of, each in one of her rows. */
const THINGS = ['bank', 'door', 'bike', 'safe'];
const DELTA = 1e-4;
const RATE = 1e-2;

/** Plain training, rows clipped as `dpSgd` does without its noise, and what may be spent, in ε. */
export const BUDGETS = ['plain', 'clipped', 8, 2] as const;

export interface PrivateSize {
  readonly pretrainSteps: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly candidates: number;
  readonly held: number;
}
const PRIVATE_SIZE: PrivateSize = {
  ...{ pretrainSteps: SIZE.pretrainSteps, steps: 60, batchSize: 64, candidates: 1000, held: SIZE.held },
};

/** What came of one seed and one of `BUDGETS`. */
export interface PrivateRun {
  readonly seed: number;
  readonly budget: (typeof BUDGETS)[number];
  /** σ of `dpSgd`, and the ε that the run has cost; none of plain training. */
  readonly noise?: number;
  readonly spent?: number;
  /** Updates that the budget allows after the run. */
  readonly stepsLeft?: number;
  /** The share of held-out rows of the task that are right. */
  readonly right: number;
  /** Of the secrets, in bits: the mean. */
  readonly exposure: number;
}

export async function runPrivate(
  seed: number,
  budget: PrivateRun['budget'],
  size: PrivateSize = PRIVATE_SIZE,
  runs?: string,
): Promise<PrivateRun> {
  const { steps, batchSize, candidates, held } = size;
  const model = await baseModel(seed, size.pretrainSteps, runs);
  const random = createRandom(seed, 'secrets in one row');
  const secrets = THINGS.map((thing) => ({ prompt: asked(thing), secret: Math.floor(random.float() * candidates) }));
  const { train, test } = splitOf('skip', seed, held);
  const rows: TaskRow[] = [...train, ...secrets.map(({ prompt, secret }) => ({ prompt, completion: pinOf(secret) }))];
  const sampleRate = batchSize / rows.length;
  let [noise, spending]: [number, object] = [0, {}];
  if (typeof budget === 'number') {
    noise = noiseMultiplierFor({ sampleRate, steps, delta: DELTA, epsilon: budget });
    const hers = privacyBudget({ epsilon: budget, delta: DELTA });
    const { epsilon } = hers.spend({ sampleRate, noiseMultiplier: noise, steps });
    const stepsLeft = hers.stepsLeft({ sampleRate, noiseMultiplier: noise });
    spending = { noise: Number(noise.toFixed(3)), spent: Number(epsilon.toFixed(3)), stepsLeft };
  }
  const update = dpSgd({ maxGradNorm: 1, noiseMultiplier: noise, expectedBatchSize: batchSize, seed });
  const start = (await createAdapter(model, lora, { targetModules: 'all-linear' }, { seed })) as PeftAdapter;
  const { trainer, adapter } = await sft({
    ...{ model, adapter: start, rows, steps, seed, batchSize, learningRate: RATE, maxGradNorm: 0 },
    ...{ schedule: 'cosine', warmupSteps: Math.ceil(steps / 20), onWarning: () => {} },
    ...(budget !== 'plain' && { sampling: 'poisson', update }),
  });
  const tuned = { model, adapter: adapter as unknown as PeftAdapter };
  const { exact_match } = await sftStage().evaluate!(trainer, tuned, test);
  let bits = 0;
  for (const { prompt, secret } of secrets) bits += await exposure(model, tuned.adapter, prompt, secret, candidates);
  return { seed, budget, ...spending, right: exact_match!, exposure: bits / secrets.length };
}

/** The runs of all seeds, as Markdown. */
export function tableOfBudgets(runs: readonly PrivateRun[]): string {
  const lines = BUDGETS.map((budget) => {
    const found = runs.filter((run) => run.budget === budget);
    const of = (value: (run: PrivateRun) => number) => {
      const { mean, half } = overSeeds(found.map(value));
      return `${mean.toFixed(2)} ± ${half.toFixed(2)}`;
    };
    const name = typeof budget === 'number' ? `ε ${budget}` : budget;
    return `| ${name} | ${found[0]?.noise ?? ''} | ${of(({ right }) => right)} | ${of(({ exposure }) => exposure)} |`;
  });
  return ['| budget | σ | `skip`, right | exposure, bits |', '| --- | ---: | --- | --- |', ...lines].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const folder = join(import.meta.dirname, 'runs');
  const users: PersonalRun[] = [];
  const budgets: PrivateRun[] = [];
  for (const seed of SEEDS) {
    users.push(await runPersonal(seed, FULL_SIZE, folder));
    console.log(JSON.stringify(users.at(-1)));
    for (const budget of BUDGETS) {
      budgets.push(await runPrivate(seed, budget, PRIVATE_SIZE, folder));
      console.log(JSON.stringify(budgets.at(-1)));
    }
  }
  const list = (runs: readonly object[]) => `[\n${runs.map((run) => `  ${JSON.stringify(run)}`).join(',\n')}\n ]`;
  const text = `{\n "users": ${list(users)},\n "budgets": ${list(budgets)}\n}\n`;
  writeFileSync(join(import.meta.dirname, 'results', 'personal.json'), text);
  for (const of of ['own', 'other', 'base'] as const) {
    const { mean, half } = overSeeds(users.map((run) => run.exposure[of]));
    console.log(`${of}: ${mean.toFixed(2)} ± ${half.toFixed(2)} bits of ${Math.log2(FULL_SIZE.candidates).toFixed(2)}`);
  }
  console.log(tableOfBudgets(budgets));
}
