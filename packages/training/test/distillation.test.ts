import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { adamW, sgd } from '@posttrain/core-tensor/optim';
import { loadWeights, sequenceLogProbs } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  annotateTopK,
  type DivergenceOptions,
  distillation,
  divergence,
  Trainer,
  type TrainingRow,
} from '../src/index.js';
import { expectClose, modelOf } from './model.js';

const goldens = join(import.meta.dirname, '../../../goldens');
const golden = JSON.parse(readFileSync(join(goldens, 'losses/gkd.json'), 'utf8')) as {
  sequences: number[][];
  untrained: number;
  cases: { beta: number; temperature: number; loss: number; norm: number[]; lm_head: number[] }[];
};

const model = async (name: string) => modelOf(await loadWeights(join(goldens, 'models', name)), name);

/** Rows whose trained predictions weigh the same, and the first few are not trained. */
function rowsOf(sequences: readonly (readonly number[])[], untrained: number): TrainingRow[] {
  const count = sequences.reduce((sum, tokens) => sum + tokens.length - 1 - untrained, 0);
  return sequences.map((tokens) => ({
    tokens,
    weights: tokens.slice(1).map((_, t) => (t < untrained ? 0 : 1 / count)),
  }));
}

const rows = rowsOf(golden.sequences, golden.untrained);

async function gradientsOf(options: DivergenceOptions, given: readonly TrainingRow[] = rows) {
  const trainer = await Trainer.create(await model('llama'), { optimizer: sgd(), maxTokensPerPass: 32 });
  const { loss } = await trainer.forwardBackward(given, distillation(options));
  const gradients = await trainer.takeGradients();
  return { loss, norm: await gradients['model.norm.weight']!.toArray(), head: gradients['lm_head.weight']! };
}

beforeAll(() => setEngine(referenceEngine()));

describe('distillation from a teacher model', () => {
  it.each(golden.cases)(
    'is TRL’s generalised JSD, value and gradient: β $beta, temperature $temperature',
    async (expected) => {
      const { beta, temperature } = expected;
      const teacher = await model('mistral');
      for (const chunkSize of [100_000, 100]) {
        const { loss, norm, head } = await gradientsOf({ teacher, beta, temperature, chunkSize });
        expectClose([loss], [expected.loss], 2e-6 * expected.loss + 1e-7);
        expectClose(norm, expected.norm, 5e-6);
        expectClose(await head.sum(1).toArray(), expected.lm_head, 5e-6);
      }
    },
  );

  it.each([0, 0.3, 1])('is zero, with a gradient of zero, where the teacher is the student (β %d)', async (beta) => {
    const { loss, norm } = await gradientsOf({ teacher: await model('llama'), beta });
    expectClose([loss, ...norm], new Array(norm.length + 1).fill(0), 1e-7);
  });

  it('refuses another vocabulary and a β that is none', async () => {
    const teacher = await model('qwen3');
    await expect(gradientsOf({ teacher })).rejects.toThrow(/vocabulary of 300 tokens and the student one of 256/);
    expect(() => divergence({ teacher, beta: 2 })).toThrow(/beta is 2/);
  });
});

describe('distillation from top-k annotations', () => {
  it.each([0, 0.5, 1])('with all tokens is that of the whole distributions (β %d)', async (beta) => {
    const teacher = await model('mistral');
    const whole = await gradientsOf({ teacher, beta });
    const annotated = await annotateTopK(teacher, rows, { k: 256 });
    for (const rest of ['renormalize', 'tail'] as const) {
      const top = await gradientsOf({ teacher: { k: 256, rest }, beta, chunkSize: 100 }, annotated);
      expectClose([top.loss], [whole.loss], 1e-5);
      expectClose(top.norm, whole.norm, 1e-5);
    }
  });

  it('with a tail, merging outcomes only ever takes divergence away', async () => {
    const teacher = await model('mistral');
    for (const beta of [0, 0.5, 1]) {
      const losses: number[] = [];
      for (const k of [1, 4, 32, 128]) {
        const annotated = await annotateTopK(teacher, rows, { k });
        losses.push((await gradientsOf({ teacher: { k }, beta }, annotated)).loss);
      }
      losses.push((await gradientsOf({ teacher, beta })).loss);
      expect(losses).toEqual([...losses].sort((a, b) => a - b));
      expect(losses[0]!).toBeGreaterThan(0);
    }
  });

  it('is refused for rows without the annotations, or of another k', async () => {
    const annotated = await annotateTopK(await model('mistral'), rows, { k: 3 });
    await expect(gradientsOf({ teacher: { k: 3 } })).rejects.toThrow(/row 0: lacks the annotation teacher_ids/);
    await expect(gradientsOf({ teacher: { k: 4 } }, annotated)).rejects.toThrow(
      /teacher_ids has 12 entries for 4 pred.*of 4/,
    );
  });

  it('teaches a student the teacher’s own probabilities', async () => {
    const [teacher, student] = [await tinyModel('llama', 1), await tinyModel('llama', 2)];
    const sequences = [
      [5, 6, 7, 8],
      [9, 2, 3, 1],
    ];
    const annotated = await annotateTopK(teacher, rowsOf(sequences, 0), { k: 8 });
    const trainer = await Trainer.create(student, { optimizer: adamW() });
    const loss = distillation({ teacher: { k: 8 }, beta: 0 });
    const losses: number[] = [];
    for (let step = 0; step < 120; step++) {
      losses.push((await trainer.forwardBackward(annotated, loss)).loss);
      await trainer.optimStep({ learningRate: step < 80 ? 0.01 : 0.002 });
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 50);
    // Of the tokens that are annotated, in the order of the annotation.
    const probabilities = async (from: typeof teacher) => {
      const scored = await sequenceLogProbs(from, sequences, { topLogProbs: 40 });
      return annotated.flatMap(({ annotations }, i) =>
        Array.from(annotations!.teacher_ids!, (id, t) => {
          const place = scored[i]!.topLogProbs![Math.floor(t / 8)]!;
          return Math.exp(place.find(({ tokenId }) => tokenId === id)!.logProb);
        }),
      );
    };
    expectClose(await probabilities(trainer.model), await probabilities(teacher), 0.05);
  });
});
