/**
 * Pretrains the tiny base model of the main job from nothing, on the corpus of `corpus.ts`.
 *
 * Run: `npx tsx examples/pretrain-tiny/pretrain.ts [--out DIR] [--steps N] [--seed N]`
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { adamW } from '@posttrain/core-tensor/optim';
import { createProgress } from '@posttrain/eval';
import { CausalLM, ChatTemplate, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { negativeLogLikelihood, Trainer, type TrainingRow } from '@posttrain/training';
import { documents } from './corpus.js';

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: join(import.meta.dirname, 'model') },
    steps: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '0' },
  },
});
const steps = Number(flags.steps);
const seed = Number(flags.seed);

const ROWS_PER_STEP = 32;
const TOKENS_PER_ROW = 128;
const PEAK_LEARNING_RATE = 3e-3;
const WARMUP_STEPS = 100;

/** Warm-up, then the peak for 60 % of the run, then linear down to 2 % of it. */
function learningRate(step: number): number {
  const warm = Math.min(1, (step + 1) / WARMUP_STEPS);
  const decay = Math.max(0.02, Math.min(1, (steps - step) / (0.4 * steps)));
  return PEAK_LEARNING_RATE * warm * decay;
}

const folder = import.meta.dirname;
const tokenizer = await Tokenizer.load(join(folder, 'tokenizer'));
const model = await CausalLM.initialize(
  {
    config: parseModelConfig(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'))),
    tokenizer,
    chatTemplate: await ChatTemplate.load(tokenizer),
    name: 'tiny',
  },
  seed,
);
const trainer = await Trainer.create(model, {
  optimizer: adamW({ beta2: 0.98, weightDecay: 0.1 }),
  maxTokensPerPass: ROWS_PER_STEP * TOKENS_PER_ROW,
});

/** An endless stream of rows cut from the stream of documents. */
function* rows(): Generator<TrainingRow, never> {
  let pending: number[] = [];
  for (const document of documents(seed + 1)) {
    pending.push(...tokenizer.encode(document));
    while (pending.length >= TOKENS_PER_ROW) {
      const tokens = pending.slice(0, TOKENS_PER_ROW);
      // The last token starts the next row, so that every token is predicted once.
      pending = pending.slice(TOKENS_PER_ROW - 1);
      yield { tokens, weights: new Float32Array(TOKENS_PER_ROW - 1).fill(1 / (ROWS_PER_STEP * (TOKENS_PER_ROW - 1))) };
    }
  }
  throw new Error('the stream of documents does not end');
}

const stream = rows();
const progress = createProgress();
const started = performance.now();
for (let step = 0; step < steps; step++) {
  const batch = Array.from({ length: ROWS_PER_STEP }, () => stream.next().value);
  const { loss, metrics } = await trainer.forwardBackward(batch, negativeLogLikelihood);
  await trainer.optimStep({ learningRate: learningRate(step) });
  const elapsed = (performance.now() - started) / 1000;
  progress.onProgress({
    stage: 'pretrain',
    done: step + 1,
    total: steps,
    etaSeconds: (elapsed / (step + 1)) * (steps - step - 1),
    metrics: { loss, accuracy: metrics.mean_token_accuracy ?? 0 },
  });
}
progress.finish();
await trainer.model.save(flags.out);
console.log(`Saved ${flags.out}`);
