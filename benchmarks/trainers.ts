/**
 * Whole trainers beside TRL's: supervised fine-tuning (SFTTrainer), DPO (DPOTrainer), reward modelling (RewardTrainer), distillation
 * (GKDTrainer, on the data) and reinforcement learning (GRPOTrainer, which samples by transformers), on the same model folders, rows and
 * batch, float32, in turns. Every step trains all rows, so that both sides' losses are compared step by step; of GRPO, whose sides draw
 * completions of their own, the number of their tokens. Prints TRL's time divided by ours, and where each side's time goes.
 *
 * usage: npx tsx benchmarks/trainers.ts [--only sft,dpo,reward,gkd,grpo] [--model 10m] [--steps 8] [--warmup 3] [--rows 8] [--length 128]
 *   [--completions 8] [--tokens 64] [--repetitions 5] [--python python3] [--threads 2]
 *
 * Timed are the steps after the warm-up, in which graphs are traced; tokenizing, and the reference's log-probabilities of DPO, come
 * before the first step on both sides. The Python packages are those of goldens/requirements.txt. The exit status is 1 when a case failed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, parseModelConfig, SequenceClassifier, Tokenizer } from '@posttrain/lm';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { compareSides, median, ratioOf } from './compare.js';
import { type Measurement, Side } from './side.js';

const METHODS = ['sft', 'dpo', 'reward', 'gkd', 'grpo'] as const;
type Method = (typeof METHODS)[number];

/** All that both sides know. */
export interface TrainerSettings {
  readonly method: Method;
  /** Folders of the model, of GKD's teacher, and of the model with a head for rewards. */
  readonly model: string;
  readonly teacher: string;
  readonly reward: string;
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly steps: number;
  /** Steps that are not timed. */
  readonly warmup: number;
  readonly learningRate: number;
  /** Of GRPO: completions of a prompt, and their most tokens. */
  readonly completions: number;
  readonly tokens: number;
}

/** A measurement that says what part of its time went where. */
type Shared = Measurement & { readonly shares: Readonly<Record<string, number>> };

/** Of losses; and of the tokens of a step of GRPO, as a completion may end early on either side. */
const TOLERANCE = 2e-4;
const TOKENS_TOLERANCE = 0.1;

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: METHODS.join(',') },
    model: { type: 'string', default: '10m' },
    steps: { type: 'string', default: '8' },
    warmup: { type: 'string', default: '3' },
    rows: { type: 'string', default: '8' },
    length: { type: 'string', default: '128' },
    completions: { type: 'string', default: '8' },
    tokens: { type: 'string', default: '64' },
    repetitions: { type: 'string', default: '5' },
    python: { type: 'string', default: 'python3' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'posttrain-trainers-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

const folders = await prepare(flags.model as ModelName);
const versions: Record<string, string> = {};
console.log(`${flags.model} model, ${flags.rows} rows of ${flags.length} tokens, ${flags.threads} threads

| trainer | TRL ÷ ours, wall (lowest to highest) | processor | ours, s a step | TRL, s a step | shares of ours | shares of TRL's | losses (of GRPO, tokens) differ by at most |
| --- | --- | --- | --- | --- | --- | --- | --- |`);
// A row as soon as it is known: a run that is broken off keeps what it measured.
for (const method of flags.only.split(',') as Method[]) console.log(await compare(method));
console.log(
  `\n${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}`,
);

/** The models' folders: random weights, with a tokenizer of letters. */
async function prepare(name: ModelName) {
  const tokenizer = await Tokenizer.load(join(import.meta.dirname, '../examples/pretrain-tiny/model'));
  const { max_position_embeddings: context, ...given } = MODEL_CONFIGS[name];
  const config = parseModelConfig({
    ...given,
    max_position_embeddings: Math.max(512, context as number),
    eos_token_id: 5,
  });
  const paths = { model: join(folder, 'model'), teacher: join(folder, 'teacher'), reward: join(folder, 'reward') };
  const model = await CausalLM.initialize({ config, tokenizer, name: 'student' }, 0);
  await model.save(paths.model);
  await (await CausalLM.initialize({ config, tokenizer, name: 'teacher' }, 1)).save(paths.teacher);
  await (await SequenceClassifier.fromCausalLM(model, { labels: 1 })).save(paths.reward);
  return paths;
}

/** Rows of letters: a quarter of each is its prompt. */
function rowsOf(method: Method): TrainerSettings['rows'] {
  const random = createRandom(1, method);
  const length = Number(flags.length);
  const text = (size: number) =>
    Array.from({ length: size }, () => String.fromCharCode(97 + random.integer(0, 25))).join('');
  const [before, after] = [Math.floor(length / 4), length - Math.floor(length / 4) - 4];
  return Array.from({ length: Number(flags.rows) }, () => {
    const [prompt, completion] = [text(before), text(after)];
    if (method === 'grpo') return { prompt };
    if (method === 'sft') return { prompt, completion };
    if (method !== 'gkd') return { prompt, chosen: completion, rejected: text(after) };
    return {
      messages: [
        { role: 'user', content: prompt },
        { role: 'assistant', content: completion },
      ],
    };
  });
}

async function compare(method: Method): Promise<string> {
  const file = join(folder, `${method}.json`);
  const [steps, warmup] = [Number(flags.steps), Number(flags.warmup)];
  const [completions, tokens] = [Number(flags.completions), Number(flags.tokens)];
  const run = { steps, warmup, learningRate: method === 'grpo' ? 1e-6 : 1e-4, completions, tokens };
  const settings: TrainerSettings = { method, ...folders, rows: rowsOf(method), ...run };
  writeFileSync(file, JSON.stringify(settings));
  const here = (name: string) => join(import.meta.dirname, name);
  const own = await Side.start([process.execPath, ...process.execArgv, here('trainers-own.ts'), file, flags.threads]);
  const peer = await Side.start([flags.python, here('trainers-peer.py'), file, flags.threads], {
    ...process.env,
    ...{ CUDA_VISIBLE_DEVICES: '', HF_HUB_OFFLINE: '1', TRL_EXPERIMENTAL_SILENCE: '1' },
  });
  Object.assign(versions, own.versions, peer.versions);
  try {
    const tolerance = method === 'grpo' ? TOKENS_TOLERANCE : TOLERANCE;
    const options = { repetitions: Number(flags.repetitions), tolerance, what: method };
    const found = await compareSides({ own, peer }, 0, options);
    const [wall, processor] = [ratioOf(found, 'seconds'), ratioOf(found, 'processorSeconds')];
    const perStep = (side: readonly Measurement[]) =>
      (median(side.map(({ seconds }) => seconds)) / (steps - warmup)).toPrecision(3);
    const sharesOf = (side: readonly Measurement[]) =>
      Object.keys((side[0] as Shared).shares)
        .map((name) => `${name} ${Math.round(100 * median(side.map((one) => (one as Shared).shares[name]!)))} %`)
        .join(', ');
    const cells = [
      method,
      `${wall.median.toFixed(2)} (${wall.lowest.toFixed(2)} to ${wall.highest.toFixed(2)})`,
      processor.median.toFixed(2),
      perStep(found.own),
      perStep(found.peer),
      sharesOf(found.own),
      sharesOf(found.peer),
      found.difference.toExponential(0),
    ];
    return `| ${cells.join(' | ')} |`;
  } catch (error) {
    process.exitCode = 1;
    return `| ${method} | failed: ${(error as Error).message.replaceAll('|', '/').slice(0, 300)} |`;
  } finally {
    await Promise.all([own.stop(), peer.stop()]);
  }
}
