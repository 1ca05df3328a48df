import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  iota,
  Key,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
  uniform,
  valueAndGrad,
} from '@posttrain/core-tensor';
import { sgd } from '@posttrain/core-tensor/optim';
import { loadWeights } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  embeddingGradient,
  type ForwardPass,
  fudgeLoss,
  type Loss,
  negativeLogLikelihood,
  nextOf,
  predictions,
  prefixSums,
  qValues,
  suffixSums,
  Trainer,
  type TrainingRow,
  weightedSum,
  withEmbeddings,
} from '../src/index.js';
import { neftuneNoise } from '../src/loss/embeddings.js';
import { expectClose, modelOf } from './model.js';

beforeAll(() => setEngine(referenceEngine()));

const rows: TrainingRow[] = [
  [3, 17, 24, 9, 12, 7],
  [9, 2, 31],
  [10, 4, 8, 15, 16, 23, 32, 37, 1, 2],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 16) }));

const start = async () => Trainer.create(await tinyModel('llama', 3), { optimizer: sgd() });

const normOf = async (trainer: { takeGradients: Trainer['takeGradients'] }) =>
  (await trainer.takeGradients())['model.norm.weight']!.toArray();

describe('sums along a sequence', () => {
  const segments = tensor(
    [
      [1, 1, 1, 1, 2, 2, 3, 3, 3, 0, 0],
      [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ],
    undefined,
    'int32',
  );
  const x = tensor(
    Float32Array.from({ length: 22 }, (_, i) => Math.sin(3 * i) + 0.2),
    [2, 11],
  );
  const predicted = x.slice(1, 1);

  /** What the words say, number by number. */
  const sumsOf = (
    values: readonly number[],
    of: readonly number[],
    { discount, exclusive, way }: { discount: number; exclusive: boolean; way: number },
  ) =>
    values.map((_, t) =>
      values.reduce((sum, value, u) => {
        const distance = (u - t) * way;
        const counts = of[t]! > 0 && of[u] === of[t] && distance >= (exclusive ? 1 : 0);
        return counts ? sum + discount ** distance * value : sum;
      }, 0),
    );

  it.each([
    [1, false],
    [0.9, false],
    [0.9, true],
    [0, true],
  ])('are what they say, over tokens and over predictions: γ %d, exclusive %s', async (discount, exclusive) => {
    const groups = (await segments.toArray()) as number[];
    for (const [scan, way] of [
      [suffixSums, 1],
      [prefixSums, -1],
    ] as const) {
      for (const given of [x, predicted]) {
        const width = given.shape[1]!;
        const flat = await given.toArray();
        const expected = [0, 1].flatMap((row) => {
          const own = groups.slice(row * 11, row * 11 + 11);
          const of = width === 11 ? own : own.slice(1).map((segment, t) => (segment === own[t] ? segment : 0));
          return sumsOf(flat.slice(row * width, (row + 1) * width), of, { discount, exclusive, way });
        });
        expectClose(await scan(given, segments, { discount, exclusive }).toArray(), expected, 1e-6);
        // The gradient of Σ sin(i) y_i is that of its differences: the scan is linear.
        const factors = tensor(
          Float32Array.from({ length: 2 * width }, (_, i) => Math.sin(i)),
          [2, width],
        );
        const objective = (v: Tensor) => scan(v, segments, { discount, exclusive }).mul(factors).sum();
        const { value, gradient } = valueAndGrad(objective)(given);
        const at = [0, 3, width, 2 * width - 1];
        const slopes = await Promise.all(
          at.map(async (i) => {
            const bump = Float32Array.from({ length: 2 * width }, (_, j) => (j === i ? 1 : 0));
            return (await objective(given.add(tensor(bump, [2, width]))).item()) - (await value.item());
          }),
        );
        const numbers = await gradient.toArray();
        expectClose(
          at.map((i) => numbers[i]!),
          slopes,
          1e-6,
        );
      }
    }
    expect(() => suffixSums(x.slice(1, 2), segments)).toThrow(/must be \[2, 10\] or \[2, 11\]/);
  });

  it('find the next entry that counts, in the same sequence', async () => {
    const mask = tensor(
      [
        [0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1],
        [1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0],
      ],
      undefined,
      'float32',
    );
    const [values, counts, of] = await Promise.all([x, mask, segments].map((one) => one.toArray()));
    const expected = values!.map((_, i) => {
      const row = Math.floor(i / 11);
      const next = values!.findIndex((__, j) => j > i && Math.floor(j / 11) === row && counts![j] === 1 && of![j]! > 0);
      return next < 0 || of![next] !== of![i] ? 0 : values![next]!;
    });
    expectClose(await nextOf(x, mask, segments).toArray(), expected, 1e-7);
    // Each value is asked for by as many as it stands next behind.
    const { gradient } = valueAndGrad((v: Tensor) => nextOf(v, mask, segments).sum())(x);
    const asked = values!.map((value) => expected.filter((one) => one === value).length);
    expectClose(await gradient.toArray(), asked, 1e-7);
  });

  it('see no other sequence of a packed row: loss and gradient are those of rows of their own', async () => {
    const loss: Loss = {
      name: 'to-come',
      annotations: ['rewards'],
      computeFrom(read, { weights, segments: of, annotations }) {
        const toCome = suffixSums(read(predictions()).logProbs, of, { discount: 0.8 });
        const returns = prefixSums(annotations.rewards!, of);
        return { loss: weightedSum(toCome.mul(returns), weights), metrics: {} };
      },
    };
    const own = rows.map((row) => ({ ...row, annotations: { rewards: row.tokens.slice(1).map((id) => id / 10) } }));
    const join_ = (of: (row: (typeof own)[number]) => readonly number[]) =>
      own.flatMap((row, i) => (i === 0 ? of(row) : [5, ...of(row)]));
    // What stands where two sequences meet counts for nothing.
    const packed: TrainingRow = {
      tokens: own.flatMap(({ tokens }) => tokens),
      weights: join_(({ weights }) => [...(weights as number[])]).map((w) => (w === 5 ? 0 : w)),
      annotations: { rewards: join_(({ annotations }) => annotations.rewards) },
      lengths: own.map(({ tokens }) => tokens.length),
    };
    const results = await Promise.all(
      [own, [packed]].map(async (given) => {
        const trainer = await start();
        const { loss: value } = await trainer.forwardBackward(given, loss);
        return [value, ...(await normOf(trainer))];
      }),
    );
    expectClose(results[0]!, results[1]!, 1e-5);
  });
});

describe('values of every token', () => {
  interface Case extends Record<'chosen' | 'max' | 'soft' | 'expected', number[][]> {
    readonly loss: number;
    readonly norm: number[];
    readonly lm_head: number[];
    readonly bias: number[];
  }
  const goldens = join(import.meta.dirname, '../../../goldens');
  const golden = JSON.parse(readFileSync(join(goldens, 'losses/q-values.json'), 'utf8')) as {
    sequences: number[][];
    alpha: number;
    cases: Record<'q_head' | 'lm_head', Case>;
  };
  const given = golden.sequences.map((tokens) => ({
    tokens,
    weights: tokens.slice(1).map((_, t) => Math.sin(1.7 * t) || 1e-30),
  }));
  const llama = async () => {
    const { weights, ...parts } = await loadWeights(join(goldens, 'models/llama'));
    const own = weights['lm_head.weight']!;
    const [vocabulary, width] = own.shape as [number, number];
    const numbers = (count: number, of: (i: number) => number) => Float32Array.from({ length: count }, (_, i) => of(i));
    const q = numbers(own.size, (i) => Math.sin(0.37 * Math.floor(i / width) + 1.3 * (i % width)));
    const heads = {
      'q_head.weight': tensor(q, own.shape),
      'q_head.bias': tensor(
        numbers(vocabulary, (i) => Math.cos(0.11 * i)),
        [vocabulary],
      ),
    };
    return Trainer.create(modelOf({ ...parts, weights: { ...weights, ...heads } }), { optimizer: sgd() });
  };

  it.each(['q_head', 'lm_head'] as const)(
    'of %s are torch’s over the whole tensor, value and gradient',
    async (head) => {
      const expected = golden.cases[head];
      for (const chunkSize of [100_000, 100]) {
        const readout = qValues({ ...(head === 'q_head' && { head }), alpha: golden.alpha, chunkSize });
        const trainer = await llama();
        const read = await trainer.read(given, readout);
        for (const name of ['chosen', 'max', 'soft', 'expected'] as const) {
          expected[name].forEach((row, i) => {
            expectClose([...read[name]![i]!], row, 1e-5);
          });
        }
        const { loss } = await trainer.forwardBackward(given, {
          name: 'q',
          annotations: [],
          computeFrom: (of, { weights }) => {
            const { chosen, max, soft, expected: mean } = of(readout);
            const all = [chosen, max, soft, mean].map((x, i) => x.mul(i + 1)).reduce((a, b) => a.add(b));
            return { loss: weightedSum(all, weights), metrics: {} };
          },
        });
        expectClose([loss], [expected.loss], 2e-5);
        const gradients = await trainer.takeGradients();
        expectClose(await gradients['model.norm.weight']!.toArray(), expected.norm, 1e-4);
        expectClose(await gradients['lm_head.weight']!.sum(1).toArray(), expected.lm_head, 1e-4);
        if (head === 'q_head') expectClose(await gradients['q_head.bias']!.toArray(), expected.bias, 1e-5);
      }
    },
  );

  it('as classifiers of prefixes have torch’s losses and gradients, least at the mean of the labels', async () => {
    const { sequences, labels, cases } = JSON.parse(readFileSync(join(goldens, 'losses/fudge.json'), 'utf8')) as {
      sequences: number[][];
      labels: number[];
      cases: Record<'log_odds' | 'value', { loss: number; norm: number[] }>;
    };
    const labelled = sequences.map((tokens, i) => ({
      ...{ tokens, weights: tokens.slice(1).map((_, t) => Math.abs(Math.sin(1.7 * t + 1))) },
      annotations: { label: [labels[i]!] },
    }));
    const trainer = await llama();
    for (const target of ['log_odds', 'value'] as const) {
      const { loss } = await trainer.forwardBackward(labelled, fudgeLoss({ target }));
      expectClose([loss], [cases[target].loss], 2e-5);
      expectClose(await normOf(trainer), cases[target].norm, 1e-4);
    }
    // One prefix of three texts, two of which have the label.
    const lossAt = (target: 'log_odds' | 'value', z: number) => {
      const each = [1, 0, 1].map((label) => {
        const read = () => ({ chosen: tensor([z], [1, 1]) }) as never;
        const inputs = { weights: tensor([1], [1, 1]), annotations: { label: tensor([label]) } } as never;
        return fudgeLoss({ target }).computeFrom(read, inputs).loss.item();
      });
      return Promise.all(each).then((losses) => losses.reduce((a, b) => a + b));
    };
    const optimum = { log_odds: Math.log(2), value: 2 / 3 };
    for (const target of ['log_odds', 'value'] as const) {
      const [below, at, above] = await Promise.all([-0.1, 0, 0.1].map((by) => lossAt(target, optimum[target] + by)));
      expect(at!).toBeLessThan(Math.min(below!, above!));
      expect(Math.abs(above! - below!)).toBeLessThan(2e-4);
    }
    const odd = labelled.map((row, i) => (i === 1 ? { ...row, annotations: { label: [2] } } : row));
    await expect(trainer.forwardBackward(odd, fudgeLoss())).rejects.toThrow(
      /training row 1: label\[0\] is 2, and the loss takes 0 to 1/,
    );
    expect(() => fudgeLoss({ target: 'odds' as never })).toThrow(/target is "odds"/);
  });

  it('lie between their mean and their maximum', async () => {
    const trainer = await llama();
    const { max, soft, expected } = await trainer.read(given, qValues({ alpha: 1e-3 }));
    max!.forEach((row, i) => {
      // α log Σ e^(Q/α) is within α log |V| of the maximum, and a mean is not above it.
      expectClose([...soft![i]!], [...row], 1e-3 * Math.log(256) + 1e-5);
      row.forEach((value, t) => {
        expect(expected![i]![t]!).toBeLessThanOrEqual(value);
      });
    });
    await expect(trainer.read(given, qValues({ head: 'v_head' }))).rejects.toThrow(
      /v_head.weight \[256, 32\].*not there/,
    );
  });
});

describe('input embeddings', () => {
  const nll = (pass: Pick<ForwardPass, 'read' | 'batch'>) =>
    weightedSum(pass.read(predictions()).logProbs.neg(), pass.batch.weights);
  const width = 16;

  it('have a gradient, which is what differences of the loss say', async () => {
    const trainer = await start();
    const gradient = await trainer.read(rows, embeddingGradient(nll));
    const direction = (x: Tensor) => iota(x.shape, 1).mul(3).add(iota(x.shape, 2)).cast('float32').sin();
    const lossAt = async (by: number) => {
      const moved = withEmbeddings(predictions(), (x) => x.add(direction(x).mul(by)));
      const loss: Loss = {
        name: 'moved',
        annotations: [],
        computeFrom: (read, { weights }) => ({ loss: weightedSum(read(moved).logProbs.neg(), weights), metrics: {} }),
      };
      return (await trainer.evaluate(rows, loss)).loss;
    };
    const slope = gradient.reduce((sum, row) => {
      return row.reduce((x, g, i) => x + g * Math.sin(3 * Math.floor(i / width) + (i % width)), sum);
    }, 0);
    expect(gradient.map(({ length }) => length)).toEqual(rows.map(({ tokens }) => tokens.length * width));
    expect(((await lossAt(1e-4)) - (await lossAt(-1e-4))) / 2e-4).toBeCloseTo(slope, 5);
  });

  it('may be moved by their own gradient, through which none flows: adversarial training in one loss', async () => {
    const epsilon = 0.05;
    const gradient = embeddingGradient(nll);
    /** ε g / ‖g‖ of each row (arXiv 1605.07725, eq. 5). */
    const worst = (pass: ForwardPass) => {
      const g = pass.read(gradient);
      return g.mul(g.square().sum([1, 2], { keepDims: true }).add(1e-30).rsqrt().mul(epsilon));
    };
    const adversarial = (perturbation: (pass: ForwardPass) => Tensor): Loss => {
      const moved = withEmbeddings(predictions(), (x, pass) => x.add(perturbation(pass)));
      return {
        name: 'adversarial',
        annotations: [],
        computeFrom(read, { weights }) {
          const [clean, attacked] = [read(predictions()), read(moved)].map((x) =>
            weightedSum(x.logProbs.neg(), weights),
          );
          return { loss: clean!.add(attacked!), metrics: { clean: clean!, attacked: attacked! } };
        },
      };
    };
    const trainer = await start();
    const { loss, metrics } = await trainer.forwardBackward(rows, adversarial(worst));
    // To first order the loss rises by ε ‖g‖ of each row.
    const numbers = await start().then((other) => other.read(rows, gradient));
    const norms = numbers.map((row) => Math.sqrt(row.reduce((sum, g) => sum + g * g, 0)));
    const rise = epsilon * norms.reduce((a, b) => a + b, 0);
    expect((metrics.attacked! - metrics.clean!) / rise).toBeGreaterThan(0.8);
    expect((metrics.attacked! - metrics.clean!) / rise).toBeLessThan(1.2);
    // The same with the perturbation as numbers of the rows.
    const given = rows.map((row, i) => {
      const data = Array.from(numbers[i]!, (g) => (g * epsilon) / norms[i]!);
      return { ...row, inputs: { perturbation: { data, width } } };
    });
    const other = await start();
    const fixed = await other.forwardBackward(
      given,
      adversarial(({ batch }) => batch.inputs!.perturbation!),
    );
    expect(fixed.loss).toBeCloseTo(loss, 6);
    expectClose(await normOf(other), await normOf(trainer), 1e-6);
  });

  it('get NEFTune’s noise: as long as the sequence says, none on padding', async () => {
    const segments = tensor([[1, 1, 1, 2, 2, 0, 0, 0]], undefined, 'int32');
    const key = Key.fromSeed(4).toTensor();
    const noise = await neftuneNoise(5, key, segments, 4).toArray();
    const drawn = await uniform(key, [1, 8, 4]).toArray();
    const lengths = [3, 3, 3, 2, 2, 0, 0, 0];
    expectClose(
      noise,
      drawn.map((u, i) => {
        const length = lengths[Math.floor(i / 4)]!;
        return length === 0 ? 0 : ((2 * u - 1) * 5) / Math.sqrt(length * 4);
      }),
      1e-6,
    );
  });

  it('get it in training only, another one each step, and the same one for the same seed', async () => {
    const withNoise = async (neftuneNoiseAlpha: number) =>
      Trainer.create(await tinyModel('gpt2', 3), { optimizer: sgd(), neftuneNoiseAlpha, maxGradNorm: 0 });
    const [plain, noisy, again] = await Promise.all([0, 5, 5].map(withNoise));
    const lossOf = async (trainer: Trainer) => {
      const { loss } = await trainer.forwardBackward(rows, negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0 });
      return loss;
    };
    const clean = await lossOf(plain!);
    expect((await noisy!.evaluate(rows, negativeLogLikelihood)).loss).toBe(clean);
    // What is read is what the step computes.
    const { logProbs } = await noisy!.read(rows, predictions());
    const first = await lossOf(noisy!);
    expect(-logProbs!.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0) / 16).toBeCloseTo(first, 6);
    const second = await lossOf(noisy!);
    expect(new Set([clean, first, second]).size).toBe(3);
    expect([await lossOf(again!), await lossOf(again!)]).toEqual([first, second]);
  });
});
