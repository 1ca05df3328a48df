/**
 * GaLore (arXiv 2403.03507) where it is meant for, training from nothing, beside AdamW of all weights and LoRA over the weights of the
 * start, at equal updates: `npx tsx examples/peft-comparison/pretraining.ts`. See README.md.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, galore, isHiddenMatrix, type Optimizer, parameterGroups } from '@posttrain/core-tensor/optim';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter } from '@posttrain/peft';
import { sft, sftStage } from '@posttrain/training';
import { documents } from '../pretrain-tiny/corpus.js';
import { CONFIG } from './base-model.js';
import { overSeeds, readOr } from './report.js';
import { countsOf, SEEDS, SWEEP_SEED } from './study.js';

/** Of LoRA and of GaLore's projections: a quarter of the model's width. */
const RANK = 16;
/**
 * GaLore moves matrices by a quarter of the rate, in a space where less of it is a step, and embeddings by all of it: `adamw_quarter` and
 * `adamw_sixteenth` are AdamW with that share of the rate for the same matrices.
 */
export const PRETRAINING_ARMS = ['adamw', 'adamw_quarter', 'adamw_sixteenth', 'galore', 'lora'] as const;
export const PRETRAINING_RATES = [1e-3, 4e-3, 1.6e-2, 6.4e-2, 2.56e-1];

export interface PretrainingSize {
  readonly steps: number;
  readonly batchSize: number;
  readonly tokens: number;
  readonly held: number;
}
const SIZE: PretrainingSize = { steps: 200, batchSize: 16, tokens: 64, held: 128 };

/** What one run came to. */
export interface PretrainingRun {
  readonly arm: (typeof PRETRAINING_ARMS)[number];
  readonly rate: number;
  readonly seed: number;
  /** Numbers that are trained, and that the optimizer keeps. */
  readonly trained: number;
  readonly moments: number;
  /** Nats a token of documents that no run has read; those of seed 1 choose the rate. */
  readonly loss: number;
}

/** Rows of so many tokens, cut from the stream of documents. */
function* rowsOf(tokenizer: Tokenizer, seed: number, tokens: number): Generator<{ input_ids: number[] }, never> {
  let pending: number[] = [];
  for (const document of documents(seed)) {
    pending.push(...tokenizer.encode(document));
    for (; pending.length >= tokens; pending = pending.slice(tokens)) yield { input_ids: pending.slice(0, tokens) };
  }
  throw new Error('the stream of documents does not end');
}

function optimizerOf(arm: PretrainingRun['arm'], steps: number): Optimizer<object> {
  switch (arm) {
    case 'galore':
      return galore({ rank: RANK, updateInterval: Math.max(1, Math.floor(steps / 6)) });
    case 'adamw_quarter':
    case 'adamw_sixteenth': {
      const learningRateFactor = arm === 'adamw_quarter' ? 1 / 4 : 1 / 16;
      return parameterGroups([
        { match: isHiddenMatrix, optimizer: adamW(), learningRateFactor },
        { optimizer: adamW() },
      ]);
    }
    default:
      return adamW();
  }
}

export async function runPretraining(
  { arm, rate, seed }: Pick<PretrainingRun, 'arm' | 'rate' | 'seed'>,
  { steps, batchSize, tokens, held }: PretrainingSize = SIZE,
): Promise<PretrainingRun> {
  const tokenizer = await Tokenizer.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'tokenizer'));
  const model = await CausalLM.initialize({ config: parseModelConfig(CONFIG), tokenizer, name: 'from nothing' }, seed);
  const take = (of: number, count: number) => {
    const stream = rowsOf(tokenizer, of, tokens);
    return Array.from({ length: count }, () => stream.next().value);
  };
  const optimizer = optimizerOf(arm, steps);
  // As in the paper's comparison, what has no low rank is trained whole.
  const config = { r: RANK, loraAlpha: RANK, modulesToSave: ['embed_tokens', 'lm_head'] };
  const start =
    arm === 'lora' &&
    ((await createAdapter(model, lora, { targetModules: 'all-linear', ...config }, { seed })) as PeftAdapter);
  const { trained, moments } = countsOf({ model, optimizer, ...(start && { adapter: start }) });
  const { trainer, adapter } = await sft({
    ...{ model, rows: take(10 * seed, steps * batchSize), steps, seed, batchSize, learningRate: rate, optimizer },
    ...{ schedule: 'cosine', warmupSteps: Math.ceil(steps / 10), onWarning: () => {} },
    ...(start && { adapter: start }),
  });
  const of = { model, adapter: adapter as PeftAdapter | undefined };
  const { loss } = await sftStage().evaluate!(trainer, of, take(10 * seed + 1, held));
  return { arm, rate, seed, trained, moments, loss: Number(loss!.toPrecision(5)) };
}

/** The rate of an arm that has the smallest loss with the seed of the sweep. */
const bestOf = (runs: readonly PretrainingRun[], arm: string): number =>
  runs
    .filter((run) => run.arm === arm && run.seed === SWEEP_SEED)
    .reduce((best, run) => (run.loss < best.loss || Number.isNaN(best.loss) ? run : best)).rate;

/** The runs of all seeds, as Markdown. */
export function tableOfPretraining(runs: readonly PretrainingRun[]): string {
  const lines = PRETRAINING_ARMS.map((arm) => {
    const rate = bestOf(runs, arm);
    const finals = runs.filter((run) => run.arm === arm && run.rate === rate && run.seed !== SWEEP_SEED);
    const { mean, half } = overSeeds(finals.map(({ loss }) => loss));
    const [{ trained, moments }] = finals as [PretrainingRun];
    return `| \`${arm}\` | ${trained} | ${moments} | ${rate} | ${mean.toFixed(3)} ± ${half.toFixed(3)} |`;
  });
  const head = '| arm | trained | kept by the optimizer | rate | loss, nats a token |';
  return [head, '| --- | ---: | ---: | ---: | --- |', ...lines].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const file = join(import.meta.dirname, 'results', 'pretraining.json');
  const runs = readOr<PretrainingRun[]>(file, []);
  const run = async (key: Pick<PretrainingRun, 'arm' | 'rate' | 'seed'>) => {
    if (runs.some(({ arm, rate, seed }) => arm === key.arm && rate === key.rate && seed === key.seed)) return;
    runs.push(await runPretraining(key));
    console.log(JSON.stringify(runs.at(-1)));
    writeFileSync(file, `[\n${runs.map((one) => ` ${JSON.stringify(one)}`).join(',\n')}\n]\n`);
  };
  for (const arm of PRETRAINING_ARMS) {
    for (const rate of PRETRAINING_RATES) await run({ arm, rate, seed: SWEEP_SEED });
    for (const seed of SEEDS) await run({ arm, rate: bestOf(runs, arm), seed });
  }
  console.log(tableOfPretraining(runs));
}
