import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concat, Key, referenceEngine, setEngine, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, mapNamed, type Named, parameterGroups, sgd } from '@posttrain/core-tensor/optim';
import { testRowGradients, testScorerTrainer } from '@posttrain/interfaces/testing';
import { type CausalLM, loadWeights } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { failuresOf } from '../../../testing/failures-of.js';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { trpo } from '../../rl/src/update/trpo.js';
import { toyModel } from '../../rl/test/toy.js';
import {
  aGem,
  aGemRule,
  dpSgd,
  empiricalFisherDiagonal,
  type FederatedClient,
  type FinishedStepContext,
  fedAvg,
  fedProx,
  fisher,
  type GradientReduction,
  gem,
  hessian,
  hiddenStates,
  negativeLogLikelihood,
  noiseMultiplierFor,
  type Penalty,
  pathIntegral,
  predictions,
  privacyBudget,
  privacySpent,
  rowGradients,
  SecureAggregationError,
  type SftOptions,
  sam,
  secureAggregation,
  sft,
  sftScorerTrainer,
  sophia,
  synapticImportance,
  Trainer,
  type TrainerOptions,
  type TrainingRow,
  tokenizeRows,
  toTrainingRows,
  type UpdateRule,
  updateByRule,
} from '../src/index.js';
import { type TestUpdateRuleOptions, testUpdateRule } from '../src/testing/index.js';
import { sophiaEstimate, sophiaStep } from '../src/update/sophia.js';
import { expectClose, modelOf } from './model.js';
import { learnt, tasks } from './replay-run.js';

const goldens = join(import.meta.dirname, '../../../goldens');
interface Facts {
  readonly prompt: number;
  readonly sequences: readonly number[][];
  readonly shown: readonly string[];
  readonly options: { readonly temperature: number };
  readonly divergence_along_vector: number;
  readonly dp_sgd: {
    readonly max_grad_norm: number;
    readonly expected_batch_size: number;
    readonly norms: readonly number[];
  };
  readonly privacy: readonly {
    readonly sampleRate: number;
    readonly noiseMultiplier: number;
    readonly steps: number;
    readonly delta: number;
    readonly epsilon: number;
    readonly order: number;
  }[];
}
const facts = JSON.parse(readFileSync(join(goldens, 'updates/updates.json'), 'utf8')) as Facts;
const golden = new Map<string, number[]>();
beforeAll(async () => {
  const file = await openSafetensors(join(goldens, 'updates/updates.safetensors'));
  for (const name of file.tensors.keys()) golden.set(name, Array.from((await file.read(name)).data as Float32Array));
  await file.close();
});
beforeEach(() => setEngine(referenceEngine()));

/** Completions of the golden's rows; every trained token weighs the same. */
const goldenRows = (): TrainingRow[] => {
  const count = facts.sequences.reduce((sum, { length }) => sum + length - facts.prompt, 0);
  return facts.sequences.map((tokens) => ({
    tokens,
    weights: tokens.slice(1).map((_, t) => (t >= facts.prompt - 1 ? 1 / count : 0)),
  }));
};
const rowsOf = (sequences: readonly number[][]): TrainingRow[] => {
  const count = sequences.reduce((sum, { length }) => sum + length - 1, 0);
  return sequences.map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / count) }));
};
const rows = rowsOf([
  [3, 17, 24, 9, 12],
  [9, 2, 31],
  [5, 6, 7, 8],
]);
const llama = async () => modelOf(await loadWeights(join(goldens, 'models/llama')));
const gemma = async () => modelOf(await loadWeights(join(goldens, 'models/gemma2')));
const tiny = async (settings: object = {}) =>
  Trainer.create(await tinyModel('llama', 3), { optimizer: sgd(), maxGradNorm: 0, ...settings });

/** The vector of the golden: cos(0.7 j + i) for element j of parameter i, in the order of their names. */
const wave = (parameters: Named): Named => {
  const place = new Map(
    Object.keys(parameters)
      .sort()
      .map((name, i) => [name, i]),
  );
  return mapNamed(parameters, ({ size, shape }, name) =>
    tensor(
      Float32Array.from({ length: size }, (_, j) => Math.cos(0.7 * j + place.get(name)!)),
      shape,
    ),
  );
};
const flat = async (named: Named): Promise<number[]> =>
  (await Promise.all(Object.values(named).map((x) => x.toArray()))).flat();
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const norm = (a: readonly number[]) => Math.sqrt(dot(a, a));
const expectNear = (actual: readonly number[], expected: readonly number[], relative: number) =>
  expectClose(actual, expected, relative * Math.max(...expected.map(Math.abs)));

/** An adapter of few numbers, so that matrices over them can be made. */
const small = async () => {
  const model = await tinyModel('llama', 3);
  const config = { r: 1, targetModules: ['k_proj'], layersToTransform: [1], initLoraWeights: false };
  return Trainer.create(model, { optimizer: sgd(), adapter: await createAdapter(model, lora, config, { seed: 1 }) });
};
const basis = (like: Named, at: number): Named => {
  let next = 0;
  return mapNamed(like, ({ size, shape }) => {
    const start = next;
    next += size;
    return tensor(
      Float32Array.from({ length: size }, (_, j) => (start + j === at ? 1 : 0)),
      shape,
    );
  });
};

describe('products of curvature with vectors', () => {
  it.each([
    ['reference', 4096, 2e-5],
    ['onnxruntime', 16, 1e-3],
  ] as const)('are those of torch on %s, in passes of %i tokens', async (name, maxTokensPerPass, tolerance) => {
    setEngine(name === 'reference' ? referenceEngine() : onnxruntimeEngine());
    const trainer = await Trainer.create(await llama(), { optimizer: sgd(), maxTokensPerPass });
    const vector = wave(trainer.parameters);
    const { temperature } = facts.options;
    const curved = {
      hessian_vector: await trainer.product(goldenRows(), hessian(negativeLogLikelihood), vector),
      fisher_vector: await trainer.product(goldenRows(), fisher({ temperature }), vector),
    };
    for (const [kind, product] of Object.entries(curved)) {
      for (const shown of facts.shown) {
        expectNear(await product[shown]!.toArray(), golden.get(`${kind}.${shown}`)!, tolerance);
      }
    }
    const moved = mapNamed(trainer.parameters, (p, key) => p.add(vector[key]!.mul(0.02)));
    const divergence = await trainer.divergence(goldenRows(), moved, { temperature });
    expect(Math.abs(divergence / facts.divergence_along_vector - 1)).toBeLessThan(tolerance * 10);
    expect(Math.abs(await trainer.divergence(goldenRows(), trainer.parameters))).toBeLessThan(1e-6);
  });

  it('are columns of the exact Fisher matrix: every next token and its probability, enumerated', async () => {
    const trainer = await small();
    const prefixes = [
      [3, 17, 24],
      [9, 2],
      [9, 30],
    ];
    const everyToken = prefixes.flatMap((prefix) =>
      Array.from({ length: 40 }, (_, token): TrainingRow => {
        return { tokens: [...prefix, token], weights: prefix.map((__, t) => (t === prefix.length - 1 ? 1 : 0)) };
      }),
    );
    const whole: GradientReduction<Named> = {
      name: 'whole',
      reduce: (state, gradients) => ({
        state,
        values: {
          g: concat(
            Object.values(gradients).map((g) => g.reshape([g.size])),
            0,
          ),
        },
      }),
    };
    const { values } = await trainer.reduceGradients(everyToken, negativeLogLikelihood, whole, { state: {} });
    const logProbs = (await trainer.read(everyToken, predictions())).logProbs.map((row) => row.at(-1)!);
    const size = values.g![0]!.length;
    const exact = Array.from({ length: size }, () => new Array<number>(size).fill(0));
    values.g!.forEach((g, i) => {
      const p = Math.exp(logProbs[i]!) / prefixes.length;
      for (let a = 0; a < size; a++) for (let b = 0; b < size; b++) exact[a]![b]! += p * g[a]! * g[b]!;
    });
    // Which token follows does not matter to the Fisher information.
    const asked = prefixes.map((prefix): TrainingRow => {
      return { tokens: [...prefix, 1], weights: prefix.map((_, t) => (t === prefix.length - 1 ? 1 / 3 : 0)) };
    });
    const scale = Math.max(...exact.flat().map(Math.abs));
    expect(scale).toBeGreaterThan(0);
    for (const at of [0, 5, size - 1]) {
      const column = await flat(await trainer.product(asked, fisher(), basis(trainer.parameters, at)));
      expectClose(column, exact[at]!, 1e-5 * scale);
    }
    // The KL of a small step is ½ vᵀ F v; there and back, without the odd orders.
    const vector = mapNamed(wave(trainer.parameters), (x) => x.mul(0.004));
    const bend = dot(await flat(await trainer.product(asked, fisher(), vector)), await flat(vector));
    const [there, back] = [1, -1].map((sign) =>
      mapNamed(trainer.parameters, (p, name) => p.add(vector[name]!.mul(sign))),
    );
    const divergences = [await trainer.divergence(asked, there!), await trainer.divergence(asked, back!)];
    expect(Math.abs((divergences[0]! + divergences[1]!) / bend - 1)).toBeLessThan(0.02);
  });

  it('are columns of the exact Hessian: central differences of gradients at trial parameters', async () => {
    const trainer = await small();
    const at = async (parameters: Named) =>
      flat((await trainer.gradients(rows, negativeLogLikelihood, { parameters })).gradients);
    const all: number[][] = [];
    const size = (await flat(trainer.parameters)).length;
    for (let i = 0; i < size; i += 5) {
      const step = 2 ** -6;
      const [up, down] = [step, -step].map((by) =>
        mapNamed(trainer.parameters, (p, name) => p.add(basis(trainer.parameters, i)[name]!.mul(by))),
      );
      const [a, b] = [await at(up!), await at(down!)];
      all.push(a.map((x, j) => (x - b[j]!) / (2 * step)));
    }
    const scale = Math.max(...all.flat().map(Math.abs));
    for (const [row, i] of all.map((expected, k) => [expected, 5 * k] as const)) {
      const column = await trainer.product(rows, hessian(negativeLogLikelihood), basis(trainer.parameters, i));
      expectClose(await flat(column), row, 2e-3 * scale);
    }
  });

  it.each([
    ['a soft cap on logits and attention', () => gemma(), {}],
    ['a base in nf4', async () => (await tinyModel('llama', 3)).quantize({ method: 'nf4' }), {}],
    ['a base in int4', async () => (await tinyModel('gpt2', 3)).quantize({ method: 'int4' }), {}],
    ['gradient checkpointing', () => tinyModel('qwen2', 3), { gradientCheckpointing: true }],
  ] as const)(
    'go through every kernel: central differences along a vector, with %s',
    async (_, modelOfCase, settings) => {
      const model = await modelOfCase();
      const paths = [...model.network.modules.keys()];
      const targetModules = ['q_proj', 'v_proj', 'c_attn'].filter((name) => paths.some((path) => path.endsWith(name)));
      const config = { r: 2, targetModules, initLoraWeights: false };
      const adapter = await createAdapter(model, lora, config, { seed: 1 });
      const trainer = await Trainer.create(model, { optimizer: sgd(), adapter, ...settings });
      const vector = wave(trainer.parameters);
      const moved = (by: number) => mapNamed(trainer.parameters, (p, name) => p.add(vector[name]!.mul(by)));
      const gradientAt = async (by: number) =>
        flat((await trainer.gradients(rows, negativeLogLikelihood, { parameters: moved(by) })).gradients);
      const step = 2 ** -12;
      const [up, down] = [await gradientAt(step), await gradientAt(-step)];
      const differences = up.map((x, i) => (x - down[i]!) / (2 * step));
      const product = await flat(await trainer.product(rows, hessian(negativeLogLikelihood), vector));
      expectNear(product, differences, 1e-3);
      const bend = dot(
        await flat(await trainer.product(rows, fisher({ temperature: 0.7 }), vector)),
        await flat(vector),
      );
      const apart = async (by: number) => trainer.divergence(rows, moved(by), { temperature: 0.7 });
      expect(Math.abs(((await apart(step)) + (await apart(-step))) / (bend * step ** 2) - 1)).toBeLessThan(0.01);
    },
  );

  it('refuses a vector that lacks a tensor', async () => {
    const trainer = await tiny();
    await expect(trainer.product(rows, fisher(), {})).rejects.toThrow(/nothing of the shape of model\.embed_tokens/);
    expect(() => fisher({ temperature: 0 })).toThrow(/temperature/);
  });
});

describe('gradients at any parameters', () => {
  it('are those of forwardBackward, stay apart from what is added up, and belong to their trial', async () => {
    const trainer = await tiny({ maxTokensPerPass: 16 });
    await trainer.forwardBackward(rows.slice(0, 1), negativeLogLikelihood);
    const { gradients, loss } = await trainer.gradients(rows, negativeLogLikelihood);
    const first = await flat(await trainer.takeGradients());
    const added = await trainer.forwardBackward(rows, negativeLogLikelihood);
    expect(added.loss).toBeCloseTo(loss, 10);
    expectClose(await flat(gradients), await flat(await trainer.takeGradients()), 1e-9);
    expect(norm(first)).toBeLessThan(norm(await flat(gradients)) * 10);
    const trial = mapNamed(trainer.parameters, (p, name) => p.sub(gradients[name]!.mul(0.1)));
    const tried = await trainer.gradients(rows, negativeLogLikelihood, { parameters: trial });
    expect(tried.loss).toBeLessThan(loss);
    await trainer.assign(trial, { countsStep: true });
    const accepted = await trainer.gradients(rows, negativeLogLikelihood);
    expectClose(await flat(accepted.gradients), await flat(tried.gradients), 1e-5);
    expect(trainer.step).toBe(1);
  });

  it('come row by row, in the order of the rows, to a reduction that keeps a Fisher diagonal', async () => {
    const trainer = await tiny();
    const squares: GradientReduction<Named> = {
      name: 'squares',
      reduce: (sums, gradients, size) => ({
        state: mapNamed(sums, (sum, name) => sum.add(gradients[name]!.square().mul(1 / 4))),
        values: { size },
      }),
    };
    const each = [rows[0]!, rows[1]!, rows[0]!, rows[2]!].map((row): TrainingRow => {
      return { ...row, weights: Array.from(row.weights, () => 1) };
    });
    const zeros = mapNamed(trainer.parameters, (p) => tensor(new Float32Array(p.size), p.shape));
    const { state, norms, values, loss } = await trainer.reduceGradients(each, negativeLogLikelihood, squares, {
      state: zeros,
    });
    const alone = await Promise.all(
      each.map(async (row) => flat((await trainer.gradients([row], negativeLogLikelihood)).gradients)),
    );
    const meanSquares = alone[0]!.map((_, j) => alone.reduce((sum, g) => sum + g[j]! ** 2 / alone.length, 0));
    expectNear(await flat(state), meanSquares, 1e-6);
    expectNear(await flat(await empiricalFisherDiagonal(trainer, each, negativeLogLikelihood)), meanSquares, 1e-6);
    for (const [i, row] of each.entries()) {
      const { gradients } = await trainer.gradients([row], negativeLogLikelihood);
      expectNear([norms[i]!, values.size![i]![0]!], [norm(await flat(gradients)), norm(await flat(gradients))], 1e-6);
    }
    expect(loss).toBeCloseTo((await trainer.evaluate(each, negativeLogLikelihood)).loss, 6);
  });
});

describe('what belongs to no row', () => {
  it('is refused in gradients of rows, or left out where that is asked for: the Fisher diagonal is of log p alone', async () => {
    const model = await tinyModel('llama', 3);
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj'], initLoraWeights: false });
    const penalty = (parameters: Named) => Object.values(parameters)[0]!.square().sum();
    const [plain, held] = [
      await Trainer.create(model, { optimizer: sgd(), adapter }),
      await Trainer.create(model, { optimizer: sgd(), adapter: { ...adapter, penalty } }),
    ];
    const none: GradientReduction<Named> = { name: 'none', reduce: (state) => ({ state }) };
    await expect(held.reduceGradients(rows, negativeLogLikelihood, none, { state: {} })).rejects.toThrow(
      /the adapter's penalty belongs to no row.*rowsOnly/,
    );
    const norms = async (trainer: Trainer) =>
      (await trainer.reduceGradients(rows, negativeLogLikelihood, none, { state: {}, rowsOnly: true })).norms;
    expect(await norms(held)).toEqual(await norms(plain));
    const [with_, without] = [
      await empiricalFisherDiagonal(held, rows, negativeLogLikelihood),
      await empiricalFisherDiagonal(plain, rows, negativeLogLikelihood),
    ];
    expect(await flat(with_)).toEqual(await flat(without));
  });
});

describe('DP-SGD', () => {
  const own = (row: TrainingRow): TrainingRow => {
    const total = Array.from(row.weights).reduce((a, b) => a + b, 0);
    return { ...row, weights: Array.from(row.weights, (weight) => weight / total) };
  };
  const privately = async (trainer: Trainer, options: Parameters<typeof dpSgd>[0], of = rows) =>
    dpSgd(options).update(trainer, of, negativeLogLikelihood, { learningRate: 1 });
  const change = async (trainer: Trainer, step: () => Promise<unknown>) => {
    const before = await trainer.copyParameters();
    await step();
    return mapNamed(trainer.parameters, (p, name) => before[name]!.sub(p));
  };

  it("has Opacus' sum of clipped gradients of rows", async () => {
    const { max_grad_norm: maxGradNorm, expected_batch_size: expectedBatchSize, norms } = facts.dp_sgd;
    const trainer = await Trainer.create(await llama(), { optimizer: sgd(), maxGradNorm: 0 });
    const each = await trainer.reduceGradients(
      goldenRows().map(own),
      negativeLogLikelihood,
      { name: 'none', reduce: (state: Named) => ({ state }) },
      { state: {} },
    );
    expectNear(each.norms, norms, 1e-5);
    let clipped = 0;
    const gradient = await change(trainer, async () => {
      const given = { maxGradNorm, expectedBatchSize, noiseMultiplier: 0 };
      clipped = (await privately(trainer, given, goldenRows())).metrics.clipped_rows!;
    });
    for (const name of facts.shown) expectClose(await gradient[name]!.toArray(), golden.get(`private.${name}`)!, 2e-6);
    expect([clipped, norms.filter((x) => x > maxGradNorm).length]).toEqual([2 / 3, 2]);
  });

  it('is bounded: one row moves the parameters by C / L at most, whatever it says', async () => {
    const trainer = await tiny();
    for (const row of rows) {
      const options = { maxGradNorm: 0.5, expectedBatchSize: 2, noiseMultiplier: 0 };
      const moved = norm(await flat(await change(trainer, () => privately(trainer, options, [row]))));
      expect(moved).toBeLessThan(0.25 + 1e-5);
      expect(moved).toBeGreaterThan(0.249);
    }
  });

  it('adds noise of standard deviation σ C / L, another one each step, the same from the same seed', async () => {
    const [options, without] = [2, 0].map((noiseMultiplier) => ({ maxGradNorm: 0.5, noiseMultiplier, seed: 3 }));
    const noiseOf = async (steps: number) => {
      const trainer = await tiny();
      await trainer.assign(trainer.parameters, { countsStep: steps === 1 });
      const noisy = await flat(await change(trainer, () => privately(trainer, options!)));
      const plain = await tiny();
      const clean = await flat(await change(plain, () => privately(plain, without!)));
      return noisy.map((x, i) => x - clean[i]!);
    };
    const [noise, again, next] = [await noiseOf(0), await noiseOf(0), await noiseOf(1)];
    const n = noise.length;
    const [deviation, mean] = [norm(noise) / Math.sqrt(n), noise.reduce((a, b) => a + b, 0) / n];
    // σ C / L = 2 · 0.5 / 3; five standard errors.
    expect(Math.abs(deviation * 3 - 1)).toBeLessThan(5 / Math.sqrt(2 * n));
    expect(Math.abs(mean * 3)).toBeLessThan(5 / Math.sqrt(n));
    expect(again).toEqual(noise);
    expect(Math.abs(dot(noise, next) / (norm(noise) * norm(next)))).toBeLessThan(5 / Math.sqrt(n));
  });

  describe('in sft', () => {
    const counting = Array.from({ length: 4 }, (_, i) => Array.from({ length: 6 }, (__, t) => 5 * i + t));
    const run = async (sequences: readonly number[][], seed: number, options: Partial<SftOptions> = {}) =>
      sft({
        model: await tinyModel('llama', 3),
        rows: sequences.map((tokens) => ({ input_ids: tokens, labels: tokens })),
        ...{ batchSize: 4, steps: 12, learningRate: 0.05, schedule: 'constant', maxGradNorm: 0, seed },
        update: dpSgd({ maxGradNorm: 1, noiseMultiplier: 0.1, seed }),
        ...options,
      });
    beforeEach(() => setEngine(onnxruntimeEngine()));

    it('learns through its noise, and nothing of a pattern that its rows do not have', async () => {
      const gains: number[] = [];
      for (const seed of [1, 2, 3]) {
        const key = Key.fromSeed(seed);
        const shuffled = counting.map((row, i) =>
          Array.from(key.child(i).uniformHost(row.length), (u) => Math.floor(40 * u)),
        );
        const losses: number[] = [];
        for (const sequences of [shuffled, counting]) {
          const { trainer } = await run(sequences, seed);
          losses.push((await trainer.evaluate(rowsOf(counting), negativeLogLikelihood)).loss);
        }
        gains.push(losses[0]! - losses[1]!);
      }
      const mean = gains.reduce((a, b) => a + b, 0) / 3;
      const error = Math.sqrt(gains.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
      // The 95 % interval of Student's t with two degrees of freedom.
      expect(mean - 4.303 * error).toBeGreaterThan(0.5);
    });

    it('draws every row with the rate that the accountant is told, also none, and divides by the mean', async () => {
      const sizes: number[] = [];
      const update = dpSgd({ maxGradNorm: 1, noiseMultiplier: 0.1, expectedBatchSize: 1 });
      const poisson = { sampling: 'poisson', batchSize: 1, steps: 24, update } as const;
      const afterStep = ({ metrics }: FinishedStepContext) => {
        sizes.push(metrics.sampled_rows!);
      };
      const { trainer } = await run(counting, 3, { ...poisson, learningRate: 0.01, afterStep });
      // 24 draws of 4 rows with q = 1/4: mean 1, variance 3/4; four standard errors.
      const mean = sizes.reduce((a, b) => a + b, 0) / sizes.length;
      expect(Math.abs(mean - 1)).toBeLessThan(4 * Math.sqrt(0.75 / 24));
      expect(new Set(sizes).has(0) && Math.max(...sizes) > 1).toBe(true);
      expect(trainer.step).toBe(24);
      await expect(run(counting, 3, { ...poisson, batchSize: 5 })).rejects.toThrow(
        /mean of 5 rows an update, but there are 4/,
      );
      await expect(run(counting, 3, { ...poisson, batchSize: 2 })).rejects.toThrow(
        /expectedBatchSize: 2 \}\); dp-sgd divides by 1/,
      );
    });

    it('goes on from a checkpoint as the same run, and not with another noise', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'posttrain-updates-'));
      try {
        const straight = await run(counting, 5, { steps: 4 });
        const stop = {
          steps: 4,
          outputFolder: folder,
          afterStep: ({ step, stop: end }: FinishedStepContext) => {
            if (step === 1) end();
          },
        };
        await run(counting, 5, stop);
        const louder = dpSgd({ maxGradNorm: 1, noiseMultiplier: 0.2, seed: 5 });
        const resumed = { steps: 4, outputFolder: folder, resume: true } as const;
        await expect(run(counting, 5, { ...resumed, update: louder })).rejects.toThrow(
          /update\.noiseMultiplier was 0\.1/,
        );
        const { trainer } = await run(counting, 5, resumed);
        expect(await flat(trainer.parameters)).toEqual(await flat(straight.trainer.parameters));
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });

  it('refuses what is not one example a row, and options that cannot be right', async () => {
    const trainer = await tiny();
    const packed = [{ ...rows[0]!, lengths: [2, 3] }];
    await expect(privately(trainer, { maxGradNorm: 1, noiseMultiplier: 1 }, packed)).rejects.toThrow(/one example/);
    expect(() => dpSgd({ maxGradNorm: 0, noiseMultiplier: 1 })).toThrow(/maxGradNorm is 0/);
    expect(dpSgd({ maxGradNorm: 1, noiseMultiplier: 1 }).settings).toMatchObject({ maxGradNorm: 1, seed: 0 });
  });
});

describe('the accountant of privacy', () => {
  it.each(facts.privacy)("spends Opacus' ε: rate $sampleRate, σ $noiseMultiplier, $steps steps", (given) => {
    const { epsilon: expected, order, sampleRate, noiseMultiplier, steps, delta } = given;
    const spent = privacySpent({ sampleRate, noiseMultiplier, steps, delta });
    expect(Math.abs(spent.epsilon / expected - 1)).toBeLessThan(1e-9);
    expect(spent.order).toBeCloseTo(order, 10);
    const sigma = noiseMultiplierFor({ sampleRate, steps, delta, epsilon: expected });
    expect(Math.abs(sigma / noiseMultiplier - 1)).toBeLessThan(2e-3);
  });

  it('agrees with the integral that defines it, and costs more with more steps, rows and less noise', () => {
    // E over z ~ N(0, σ²) of (1 - q + q e^((2 z - 1) / 2σ²))^α, at the order that decides.
    const given = { sampleRate: 0.05, noiseMultiplier: 1.3, steps: 200, delta: 1e-5 };
    const { epsilon, order } = privacySpent(given);
    const { sampleRate: q, noiseMultiplier: sigma } = given;
    let moment = 0;
    const width = 1e-3;
    for (let z = -40; z < 40; z += width) {
      const ratio = 1 - q + q * Math.exp((2 * z - 1) / (2 * sigma ** 2));
      moment += (width * ratio ** order * Math.exp(-(z ** 2) / (2 * sigma ** 2))) / (sigma * Math.sqrt(2 * Math.PI));
    }
    const rdp = (given.steps * Math.log(moment)) / (order - 1);
    const converted = rdp + Math.log((order - 1) / order) - (Math.log(given.delta) + Math.log(order)) / (order - 1);
    expect(epsilon).toBeCloseTo(converted, 6);
    for (const more of [{ steps: 300 }, { sampleRate: 0.06 }, { noiseMultiplier: 1.2 }, { delta: 1e-6 }]) {
      expect(privacySpent({ ...given, ...more }).epsilon).toBeGreaterThan(epsilon);
    }
  });
});

describe('the budget of privacy of a user', () => {
  const delta = 1e-5;

  it('adds up runs as steps of one, and runs of other noise as the Gaussian mechanism does', () => {
    const run = { sampleRate: 0.05, noiseMultiplier: 1.3 };
    const [parts, other] = [privacyBudget({ epsilon: 8, delta }), privacyBudget({ epsilon: 8, delta })];
    parts.spend({ ...run, steps: 50 });
    expect(parts.spend({ ...run, steps: 150 }).epsilon).toBeCloseTo(
      privacySpent({ ...run, steps: 200, delta }).epsilon,
      10,
    );
    // Another user's budget is not touched.
    expect(other.spent.epsilon).toBe(0);
    // Of all rows in every step, noise of 3 and of 4 is noise of 1 / √(1/9 + 1/16) = 2.4.
    other.spend({ sampleRate: 1, noiseMultiplier: 3, steps: 1 });
    const both = other.spend({ sampleRate: 1, noiseMultiplier: 4, steps: 1 });
    expect(both.epsilon).toBeCloseTo(
      privacySpent({ sampleRate: 1, noiseMultiplier: 2.4, steps: 1, delta }).epsilon,
      10,
    );
  });

  it('refuses what would cost more than is left, takes nothing then, and goes on from its state', () => {
    const run = { sampleRate: 0.1, noiseMultiplier: 2 };
    const budget = privacyBudget({ epsilon: 3, delta });
    budget.spend({ ...run, steps: 20 });
    const left = budget.stepsLeft(run);
    expect(left).toBeGreaterThan(10);
    const before = budget.spent;
    const message = new RegExp(`ε .* of 3, .* is spent; ${left} are left`);
    expect(() => budget.spend({ ...run, steps: left + 1 })).toThrow(message);
    expect(budget.spent).toEqual(before);
    const again = privacyBudget({ epsilon: 3, delta });
    again.load(JSON.parse(JSON.stringify(budget.state())));
    again.spend({ ...run, steps: left });
    expect(again.spent.epsilon).toBeLessThanOrEqual(3);
    expect(again.stepsLeft(run)).toBe(0);
    expect(() => privacyBudget({ epsilon: 1, delta }).load(again.state())).toThrow(/has spent more than ε 1/);
    expect(() => again.load([1, 2])).toThrow(/none that state\(\) has given/);
    expect(() => budget.spend({ ...run, steps: 0 })).toThrow(/steps is 0/);
  });
});

/** Of three numbers, the ends of the 95 % interval of Student's t with two degrees of freedom. */
function interval(values: readonly number[]): { readonly low: number; readonly high: number } {
  const mean = values.reduce((a, b) => a + b, 0) / 3;
  const error = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
  return { low: mean - 4.303 * error, high: mean + 4.303 * error };
}

type Numbers = Readonly<Record<string, number[]>>;
interface RuleFacts {
  readonly si: { learning_rate: number; steps: number; xi: number; path: number[]; importance: number[] };
  readonly sequences: readonly number[][];
  readonly shown: string;
  readonly sam: readonly { rho: number; adaptive: boolean; losses: number[]; norm: number; step: number[] }[];
  readonly sophia: {
    readonly options: Readonly<
      Record<'beta1' | 'beta2' | 'gamma' | 'epsilon' | 'weightDecay' | 'updatePeriod', number>
    >;
    readonly rate: number;
    readonly shapes: Readonly<Record<string, number[]>>;
    readonly start: Numbers;
    readonly gradients: readonly Numbers[];
    readonly estimates: readonly Numbers[];
    readonly parameters: readonly Numbers[];
  };
  readonly gem: readonly { memory_strength: number; eps: number; norm: number; products: number[]; step: number[] }[];
}
const ruleFacts = JSON.parse(readFileSync(join(goldens, 'update-rules/update-rules.json'), 'utf8')) as RuleFacts;
/** One update of plain SGD at rate 1: what it takes off a parameter is what the rule gave the optimizer. */
async function stepOf(rule: UpdateRule, given: readonly TrainingRow[], settings: object = {}) {
  const trainer = await Trainer.create(await llama(), { optimizer: sgd(), maxGradNorm: 0, ...settings });
  const before = await trainer.copyParameters();
  const result = await rule.update(trainer, given, negativeLogLikelihood, { learningRate: 1 });
  expect(trainer.step).toBe(1);
  const taken = await before[ruleFacts.shown]!.sub(trainer.parameters[ruleFacts.shown]!).toArray();
  return { ...result, taken };
}

describe('sharpness-aware minimisation', () => {
  it.each(ruleFacts.sam)('takes the step of pytorch-optimizer with ρ $rho, adaptive: $adaptive', async (expected) => {
    const { rho, adaptive, losses, norm: length, step } = expected;
    for (const maxTokensPerPass of [4096, 16]) {
      const found = await stepOf(sam({ rho, adaptive }), rowsOf(ruleFacts.sequences), { maxTokensPerPass });
      expectNear([found.loss, found.loss + found.metrics['sam/sharpness']!], losses, 1e-5);
      expectNear([found.gradNorm], [length], 1e-4);
      expectNear(found.taken, step, 1e-4);
    }
    expect(() => sam({ rho: 0 })).toThrow(/rho is 0/);
    expect(sam({ rho, adaptive }).settings).toEqual({ rho, adaptive });
  });

  it('climbs higher than any of twenty steps of the same length does', async () => {
    const trainer = await tiny();
    const start = await trainer.copyParameters();
    const loss = async (parameters: Named) =>
      (await trainer.evaluate(rows, negativeLogLikelihood, { parameters })).loss;
    const plain = await loss(start);
    const { metrics } = await sam({ rho: 0.1 }).update(trainer, rows, negativeLogLikelihood, { learningRate: 0 });
    for (let i = 0; i < 20; i++) {
      const draw = Key.fromSeed(i);
      const direction = mapNamed(start, ({ size, shape }, name) => {
        const key = draw.child(Object.keys(start).indexOf(name));
        return tensor(
          Float32Array.from(key.uniformHost(size), (u) => u - 0.5),
          shape,
        );
      });
      const length = norm(await flat(direction));
      const moved = mapNamed(start, (p, name) => p.add(direction[name]!.mul(0.1 / length)));
      expect(metrics['sam/sharpness']).toBeGreaterThan((await loss(moved)) - plain);
    }
  });

  it('in sft ends where it is flatter than without it, and has learnt as well', async () => {
    setEngine(onnxruntimeEngine());
    const counting = Array.from({ length: 4 }, (_, i) => Array.from({ length: 6 }, (__, t) => 5 * i + t));
    const flatter: number[] = [];
    for (const seed of [4, 5, 6]) {
      const sharpness: number[] = [];
      for (const update of [undefined, sam({ rho: 0.4 })]) {
        const { trainer } = await sft({
          ...{ model: await tinyModel('llama', seed), learningRate: 0.005, schedule: 'constant', seed },
          ...{ rows: counting.map((tokens) => ({ input_ids: tokens, labels: tokens })), batchSize: 4, steps: 50 },
          ...(update && { update }),
        });
        const measured = await sam({ rho: 0.2 }).update(trainer, rowsOf(counting), negativeLogLikelihood, {
          learningRate: 0,
        });
        expect(measured.loss).toBeLessThan(0.6);
        sharpness.push(measured.metrics['sam/sharpness']!);
      }
      flatter.push(Math.log(sharpness[0]! / sharpness[1]!));
    }
    expect(interval(flatter).low, String(flatter)).toBeGreaterThan(0);
  });
});

describe('Sophia', () => {
  it('takes the steps of pytorch-optimizer, negative estimates and clipped coordinates among them', async () => {
    const { options, rate, shapes, start, gradients, estimates, parameters } = ruleFacts.sophia;
    const named = (numbers: Numbers) =>
      mapNamed(shapes as never, (shape, name) => tensor(numbers[name]!, shape as unknown as number[])) as Named;
    const { beta1, beta2, gamma, epsilon, weightDecay, updatePeriod } = options;
    const scalars = { rate, beta1, gamma, epsilon, decay: weightDecay };
    const inGraph = mapNamed(scalars as never, (x) => tensor([x as unknown as number], [])) as never;
    let [now, mean] = [named(start), mapNamed(named(start), (x) => x.mul(0))];
    let diagonal: Named = mean;
    const clipped: number[] = [];
    for (const [i, g] of gradients.entries()) {
      if (i % updatePeriod === 0) diagonal = sophiaEstimate(diagonal, named(estimates[i / updatePeriod]!), beta2);
      const next = sophiaStep(now, named(g), mean, diagonal, inGraph);
      [now, mean] = [next.parameters, next.mean];
      clipped.push(await next.clipped.item());
      for (const [name, expected] of Object.entries(parameters[i]!)) {
        expectClose(await now[name]!.toArray(), expected, 1e-6);
      }
    }
    expect(Math.min(...clipped)).toBeLessThan(1);
    expect(Math.max(...clipped)).toBeGreaterThan(0);
  });

  it('estimates the diagonal: u ⊙ H u of its own u, whose mean over steps is that of the Hessian’s columns', async () => {
    const trainer = await small();
    const size = (await flat(trainer.parameters)).length;
    const exact: number[] = [];
    for (let i = 0; i < size; i++) {
      const column = await trainer.product(rows, hessian(negativeLogLikelihood), basis(trainer.parameters, i));
      exact.push((await flat(column))[i]!);
    }
    // With a rate of 0 and β₂ = 0 every step leaves an estimate of its own at one and the same place.
    const rule = sophia({ beta2: 0, updatePeriod: 1, seed: 5 });
    const [sum, squares] = [new Array<number>(size).fill(0), new Array<number>(size).fill(0)];
    const draws = 60;
    for (let i = 0; i < draws; i++) {
      await updateByRule(trainer, rule, rows, negativeLogLikelihood, { learningRate: 0 });
      const kept = trainer.kept('sophia')!;
      const estimate = await flat(mapNamed(trainer.parameters, (_, name) => kept[`diagonal.${name}`]!));
      estimate.forEach((x, j) => {
        sum[j]! += x / draws;
        squares[j]! += (x * x) / draws;
      });
    }
    // Each mean within five standard errors; of so many draws none is exact.
    sum.forEach((mean, j) => {
      const error = Math.sqrt((squares[j]! - mean ** 2) / draws);
      expect(Math.abs(mean - exact[j]!), `coordinate ${j}`).toBeLessThan(5 * error + 1e-7);
    });
    expect(dot(sum, exact) / (norm(sum) * norm(exact))).toBeGreaterThan(0.6);
  });

  it('in sft learns, and a run that was stopped goes on with its means to the bit', async () => {
    setEngine(onnxruntimeEngine());
    const folder = await mkdtemp(join(tmpdir(), 'posttrain-sophia-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const counting = Array.from({ length: 4 }, (_, i) => Array.from({ length: 6 }, (__, t) => 5 * i + t));
    const run = async (options: Partial<SftOptions> = {}) =>
      sft({
        model: await tinyModel('llama', 3),
        rows: counting.map((tokens) => ({ input_ids: tokens, labels: tokens })),
        ...{ batchSize: 4, steps: 12, learningRate: 0.01, schedule: 'constant', loggingSteps: 1 },
        update: sophia({ updatePeriod: 4 }),
        ...options,
      });
    const straight = await run();
    expect(straight.history.at(-1)!.metrics.loss!).toBeLessThan(straight.history[0]!.metrics.loss! / 2);
    const stopAt = ({ step, stop }: FinishedStepContext) => {
      if (step === 5) stop();
    };
    await run({ outputFolder: folder, afterStep: stopAt });
    const resumed = await run({ outputFolder: folder, resume: true });
    expect(await flat(resumed.trainer.snapshot().tensors)).toEqual(await flat(straight.trainer.snapshot().tensors));
    expect(Object.keys(resumed.trainer.kept('sophia')!)).toContain('mean.model.norm.weight');
    await expect(run({ outputFolder: folder, resume: true, update: sophia({ updatePeriod: 2 }) })).rejects.toThrow(
      /update\.updatePeriod was 4/,
    );
  });

  it('refuses to be called without its state, and options that cannot be right', async () => {
    const call = sophia().update(await tiny(), rows, negativeLogLikelihood, { learningRate: 1 });
    await expect(call).rejects.toThrow(/call it by updateByRule/);
    expect(() => sophia({ gamma: 0 })).toThrow(/gamma is 0/);
  });
});

describe('gradient episodic memory', () => {
  /** The loss of the second task has the other sign, so that the first points against it. */
  const golden = () => {
    const [now, ...others] = ruleFacts.sequences.map((tokens) => rowsOf([tokens]));
    const [first, second] = others as [TrainingRow[], TrainingRow[]];
    const turned = first.map((row) => ({ ...row, weights: Array.from(row.weights, (weight) => -weight) }));
    return { now: now!, memories: [turned, second] };
  };

  it.each(ruleFacts.gem)('takes the step of quadprog with γ $memory_strength', async (expected) => {
    const { now, memories } = golden();
    const { memory_strength: memoryStrength, eps, step, norm: length, products } = expected;
    const found = await stepOf(gem({ memories, memoryStrength, eps }), now);
    expect(found.metrics['gem/violations']).toBe(products.filter((x) => x < 0).length);
    expectNear([found.gradNorm], [length], 1e-4);
    expectNear(found.taken, step, 1e-4);
  });

  it('points against no task after it, is A-GEM for one task, and nothing where no task is hurt', async () => {
    const { now, memories } = golden();
    const trainer = await Trainer.create(await llama(), { optimizer: sgd(), maxGradNorm: 0 });
    const gradientOf = async (given: readonly TrainingRow[]) =>
      (await trainer.gradients(given, negativeLogLikelihood)).gradients;
    const before = await trainer.copyParameters();
    const taken = async (rule: UpdateRule, given = now) => {
      await rule.update(trainer, given, negativeLogLikelihood, { learningRate: 1 });
      const step = await flat(mapNamed(before, (p, name) => p.sub(trainer.parameters[name]!)));
      await trainer.assign(before);
      return step;
    };
    const tasks_ = await Promise.all(memories.map(async (rows_) => flat(await gradientOf(rows_))));
    const exact = await taken(gem({ memories, memoryStrength: 0, eps: 0 }));
    const plain = await flat(await gradientOf(now));
    expect(Math.min(...tasks_.map((one) => dot(plain, one)))).toBeLessThan(-0.1);
    for (const one of tasks_) expect(dot(exact, one)).toBeGreaterThan(-1e-3);
    const single = await taken(gem({ memories: memories.slice(0, 1), memoryStrength: 0, eps: 0 }));
    const averaged = await aGem(await gradientOf(now), await gradientOf(memories[0]!));
    expectNear(single, await flat(averaged.gradients), 1e-3);
    expectNear(await taken(gem({ memories: [now] })), plain, 1e-5);
    expect(() => gem({ memories: [[]] })).toThrow(/memories is/);
    // Other memories are another run.
    expect(gem({ memories }).settings).not.toEqual(gem({ memories: [memories[1]!] }).settings);
  });

  it('in sft forgets less of the task before than without it, and learns the next one', async () => {
    setEngine(onnxruntimeEngine());
    const kept: number[] = [];
    for (const seed of [1, 2, 3]) {
      const model = await learnt(seed);
      const [old, next] = [tasks.old, tasks.next].map((given) => toTrainingRows(tokenizeRows(model, given).rows));
      const losses: number[] = [];
      for (const update of [undefined, gem({ memories: [old!] })]) {
        const { trainer } = await sft({
          ...{ model, rows: tasks.next, seed, steps: 40, batchSize: 3, learningRate: 0.02, schedule: 'constant' },
          ...(update && { update }),
        });
        losses.push((await trainer.evaluate(old!, negativeLogLikelihood)).loss);
        const { metrics } = await trainer.evaluate(next!, negativeLogLikelihood);
        expect(metrics.mean_token_accuracy).toBeGreaterThan(0.8);
      }
      kept.push(Math.log(losses[0]! / losses[1]!));
    }
    expect(interval(kept).low, String(kept)).toBeGreaterThan(0.3);
  });
});

describe('synaptic intelligence', () => {
  it("has torch's path integral and importances, the same over a checkpoint, and whose sum is the fall of the loss", async () => {
    const { learning_rate: learningRate, steps, xi, path, importance } = ruleFacts.si;
    const start = async () =>
      Trainer.create(await llama(), { optimizer: pathIntegral(sgd()), maxGradNorm: 0, maxTokensPerPass: 16 });
    const given = rowsOf(ruleFacts.sequences);
    let trainer = await start();
    const losses: number[] = [];
    for (let step = 0; step < steps; step++) {
      losses.push((await trainer.forwardBackward(given, negativeLogLikelihood)).loss);
      await trainer.optimStep({ learningRate });
      if (step > 0) continue;
      const other = await start();
      other.restore(trainer.snapshot());
      trainer = other;
    }
    expectNear(await trainer.optimizerState[ruleFacts.shown]!.path!.toArray(), path, 1e-3);
    const found = await synapticImportance(trainer, { xi });
    expectNear(await found[ruleFacts.shown]!.toArray(), importance, 1e-3);
    const twice = await synapticImportance(trainer, { xi, previous: found });
    expectNear(
      await twice[ruleFacts.shown]!.toArray(),
      importance.map((x) => 2 * x),
      1e-3,
    );
    // Σ ω is the integral of the gradient along the way: the fall of the loss, to first order.
    const { loss } = await trainer.evaluate(given, negativeLogLikelihood);
    const paths = mapNamed(trainer.parameters, (_, name) => trainer.optimizerState[name]!.path!);
    const sum = (await flat(paths)).reduce((a, b) => a + b, 0);
    expect(Math.abs(sum / (losses[0]! - loss) - 1)).toBeLessThan(0.25);
    await expect(synapticImportance(await tiny())).rejects.toThrow(/keeps no path of/);
  });
});

describe('parameter groups of a trainer', () => {
  const frozen = 'model.embed_tokens.weight';
  const grouped = () =>
    parameterGroups([
      { match: /embed_tokens/, frozen: true },
      { match: /lm_head/, optimizer: adamW(), maxGradNorm: 0.1, learningRateFactor: 0.5 },
      { optimizer: adamW(), schedule: { name: 'linear', totalSteps: 6, warmupSteps: 2 } },
    ]);
  const step = async (trainer: Trainer) => {
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    return trainer.optimStep({ learningRate: 0.01 });
  };

  it('freeze, clip apart and show Adam’s moments by parameter', async () => {
    const trainer = await tiny({ optimizer: grouped(), maxGradNorm: 0.3 });
    const plain = await tiny();
    const { gradients: all } = await plain.gradients(rows, negativeLogLikelihood);
    const { gradients } = await trainer.gradients(rows, negativeLogLikelihood);
    expect(Object.keys(gradients)).toEqual(Object.keys(all).filter((name) => name !== frozen));
    const before = await trainer.parameters[frozen]!.toArray();
    const { gradNorm } = await step(trainer);
    expect(gradNorm).toBeCloseTo(norm(await flat(gradients)), 5);
    expect(await trainer.parameters[frozen]!.toArray()).toEqual(before);
    const { 'lm_head.weight': head, ...others } = gradients;
    const factors = {
      'lm_head.weight': 0.1 / norm(await flat({ head: head! })),
      'model.norm.weight': 0.3 / norm(await flat(others)),
    };
    expect(Object.values(factors).every((factor) => factor < 1)).toBe(true);
    for (const [name, factor] of Object.entries(factors)) {
      const { mean, square, step: count } = trainer.optimizerState[name]!;
      const used = (await gradients[name]!.toArray()).map((g) => g * factor);
      expectNear(
        await mean!.toArray(),
        used.map((g) => 0.1 * g),
        1e-4,
      );
      expectNear(
        await square!.toArray(),
        used.map((g) => 0.001 * g * g),
        1e-4,
      );
      expect(await count!.item()).toBe(1);
    }
    expect(trainer.optimizerState[frozen]).toEqual({});
    expect(() => parameterGroups([{ frozen: true }])).not.toThrow();
    await expect(tiny({ optimizer: parameterGroups([{ frozen: true }]) })).rejects.toThrow(/freezes every parameter/);
  });

  it('go on from a checkpoint as if nothing had happened, schedules included', async () => {
    const straight = await tiny({ optimizer: grouped() });
    for (let i = 0; i < 4; i++) await step(straight);
    const first = await tiny({ optimizer: grouped() });
    for (let i = 0; i < 2; i++) await step(first);
    const second = await tiny({ optimizer: grouped() });
    second.restore(first.snapshot());
    for (let i = 0; i < 2; i++) await step(second);
    expect(await flat(second.parameters)).toEqual(await flat(straight.parameters));
    // The schedule of the group begins with a rate of 0.
    const once = await tiny({ optimizer: grouped() });
    const at = await once.parameters['model.norm.weight']!.toArray();
    await step(once);
    expect(await once.parameters['model.norm.weight']!.toArray()).toEqual(at);
  });
});

describe('a rule for updates', () => {
  it('of one’s own runs in sft with what is exported: Newton’s step along the gradient', async () => {
    // min over α of L(θ - α g) by the second order: α = g·g / g·Hg where H bends upwards.
    const newton: UpdateRule = {
      name: 'newton',
      settings: {},
      async update(trainer, given, loss) {
        const { gradients, ...result } = await trainer.gradients(given, loss);
        const bend = dot(await flat(gradients), await flat(await trainer.product(given, hessian(loss), gradients)));
        const square = norm(await flat(gradients)) ** 2;
        const length = bend > 0 ? Math.min(1, square / bend) : 0.1;
        const moved = mapNamed(trainer.parameters, (p: Tensor, name) => p.sub(gradients[name]!.mul(length)));
        await trainer.assign(moved, { countsStep: true });
        return { ...result, gradNorm: Math.sqrt(square) };
      },
    };
    const model: CausalLM = await tinyModel('llama', 3);
    const tokens = [1, 2, 3, 4, 5, 6];
    const { history, trainer } = await sft({
      ...{ model, rows: [{ input_ids: tokens, labels: tokens }], batchSize: 1, steps: 8, update: newton },
    });
    expect(trainer.step).toBe(8);
    expect(history.at(-1)!.metrics.loss!).toBeLessThan(history[0]!.metrics.loss! / 2);
    await expect(sft({ model, rows: [], update: {} as UpdateRule })).rejects.toThrow(/update is an object/);
  });
});

describe('our own rules pass the kit', () => {
  const rules: readonly (readonly [() => UpdateRule, TestUpdateRuleOptions?])[] = [
    [() => sam()],
    [() => dpSgd({ maxGradNorm: 0.1, noiseMultiplier: 0.5 })],
    [() => gem({ memories: [rows] })],
    [() => aGemRule({ memory: rows, batchSize: 2 })],
    [() => sophia({ updatePeriod: 3 }), { updates: 4 }],
    [() => trpo({ cgIterations: 2, backtrackIterations: 2 }), { usesLearningRate: false, updates: 1, tolerance: 0.02 }],
  ];
  for (const [make, options] of rules) testUpdateRule(it, make, options);
});

describe('the kit finds', () => {
  const plain: UpdateRule = {
    name: 'plain',
    settings: {},
    async update(trainer, given, loss, { learningRate, ...inputs }) {
      const { gradients, ...result } = await trainer.gradients(given, loss, inputs);
      const { gradNorm } = await trainer.optimStep({ learningRate, gradients });
      return { ...result, gradNorm };
    },
  };
  let calls = 0;
  it.each<[string, RegExp, Partial<UpdateRule>, RegExp]>([
    ['nothing wrong', /^/, {}, /^$/],
    [
      'a rule that gives nothing',
      /makes one/,
      { update: async () => undefined as never },
      /plain, step 0: it gave undefined; give/,
    ],
    [
      'a norm that is NaN',
      /makes one/,
      { update: async (...all) => ({ ...(await plain.update(...all)), gradNorm: Number.NaN }) },
      /gradNorm is NaN; give a finite number/,
    ],
    [
      'two steps in an update',
      /makes one/,
      { update: async (...all) => (await plain.update(...all)) && plain.update(...all) },
      /it made 2 updates/,
    ],
    [
      'what it keeps beside its state',
      /keeps nothing/,
      {
        update: (trainer, given, loss, { learningRate }) =>
          plain.update(trainer, given, loss, { learningRate: learningRate * (1 + calls++) }),
      },
      /after it was saved and resumed/,
    ],
    [
      'a state that it forgets',
      /makes one/,
      { init: (variables) => mapNamed(variables, (x) => x.mul(0)) },
      /the state it gave has nothing of the shape of model\.embed_tokens/,
    ],
    [
      'a state without a beginning',
      /makes one/,
      { update: async (...all) => ({ ...(await plain.update(...all)), state: {} }) },
      /gave a state and has no init/,
    ],
    [
      'what moves by itself',
      /frozen|rate of 0/,
      {
        update: async (trainer, given, loss, inputs) => {
          const result = await plain.update(trainer, given, loss, inputs);
          await trainer.assign(mapNamed(trainer.parameters, (p) => p.add(1)));
          return result;
        },
      },
      /model\.embed_tokens\.weight has changed[\s\S]*with a learning rate of 0/,
    ],
    [
      'a step that is made before the loss is looked at',
      /refuses/,
      {
        update: async (trainer, given, loss, inputs) => {
          const result = await plain.update(trainer, given, negativeLogLikelihood, inputs);
          await trainer.evaluate(given, loss);
          return result;
        },
      },
      /a step was counted/,
    ],
  ])('%s', async (_, only, part, message) => {
    const failures = await failuresOf((register) => testUpdateRule(register, () => ({ ...plain, ...part })), only);
    expect(failures.join('\n')).toMatch(message);
  });
});

describe('what a trainer gives passes the kits of the interfaces', () => {
  const texts = ['abc', 'd', 'eadb'];
  testRowGradients(
    it,
    'rowGradients',
    async () => rowGradients(await Trainer.create(await toyModel(1), { optimizer: sgd() })),
    {
      texts,
    },
  );
  const say = (completion: string) => ['a', 'b'].map((prompt) => ({ prompt, completion }));
  testScorerTrainer(
    it,
    'sftScorerTrainer',
    async () => sftScorerTrainer({ model: await toyModel(1), learningRate: 0.02, epochs: 4, onWarning: () => {} }),
    { rows: [say('bbb'), say('ddd')] },
  );
});

describe('gradients of rows as features', () => {
  const requests = [
    { prompt: 'ab', completion: 'cde' },
    { prompt: 'cab', completion: 'dd' },
    { prompt: 'fg', completion: 'a' },
  ];
  const start = async (settings: Partial<TrainerOptions> = {}) => {
    const model = await toyModel(1);
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear', initLoraWeights: false });
    return Trainer.create(model, { optimizer: adamW(), adapter, maxGradNorm: 0, ...settings });
  };
  const row = (trainer: Trainer, { prompt, completion }: (typeof requests)[number]): TrainingRow => {
    const { tokens, mask } = tokenizeRows(trainer.model, [{ prompt, completion }]).rows[0]!;
    const trained = mask.slice(1);
    return { tokens, weights: trained.map((one) => one / trained.filter(Boolean).length) };
  };

  it('are those of the loss, whole, or in the direction of Adam with the moments that it has', async () => {
    const trainer = await start();
    for (let i = 0; i < 2; i++) {
      await trainer.forwardBackward(
        requests.map((one) => row(trainer, one)),
        negativeLogLikelihood,
      );
      await trainer.optimStep({ learningRate: 0.01 });
    }
    const features = rowGradients(trainer);
    const [whole, adam] = [
      await features.gradients(requests),
      await features.gradients(requests, { direction: 'adam' }),
    ];
    const state = Object.values(trainer.optimizerState);
    const moment = async (kind: 'mean' | 'square') =>
      (await Promise.all(state.map((one) => one[kind]!.toArray()))).flat();
    const [mean, square] = [await moment('mean'), await moment('square')];
    for (const [i, request] of requests.entries()) {
      const g = await flat((await trainer.gradients([row(trainer, request)], negativeLogLikelihood)).gradients);
      expectNear(Array.from(whole[i]!), g, 1e-6);
      const expected = g.map(
        (x, j) => (0.9 * mean[j]! + 0.1 * x) / Math.sqrt(0.999 * square[j]! + 0.001 * x * x + 1e-8),
      );
      expectNear(Array.from(adam[i]!), expected, 1e-5);
    }
    // They change nothing: the trainer goes on.
    await trainer.forwardBackward([row(trainer, requests[0]!)], negativeLogLikelihood);
    expect((await trainer.optimStep({ learningRate: 0.01 })).gradNorm).toBeGreaterThan(0);
  });

  it('keep inner products under a projection, in the mean over seeds, and are of one space with one seed', async () => {
    const features = rowGradients(await start());
    const whole = (await features.gradients(requests)).map((x) => Array.from(x));
    const projected = async (seed: number) =>
      (await features.gradients(requests, { projection: 64, seed })).map((x) => Array.from(x));
    expect(await projected(1)).toEqual(await projected(1));
    const errors: number[] = [];
    for (let seed = 0; seed < 20; seed++) {
      const each = await projected(seed);
      expect(each[0]!.length).toBe(64);
      errors.push((dot(each[0]!, each[1]!) - dot(whole[0]!, whole[1]!)) / (norm(whole[0]!) * norm(whole[1]!)));
    }
    const mean = errors.reduce((a, b) => a + b, 0) / 20;
    const deviation = Math.sqrt(errors.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 19);
    expect(deviation).toBeLessThan(2 / Math.sqrt(64));
    expect(Math.abs(mean)).toBeLessThan((4 * deviation) / Math.sqrt(20));
  });

  it('of hallucinated labels are those of the most likely tokens; what cannot be had is refused', async () => {
    const model = await toyModel(1);
    const trainer = await Trainer.create(model, { optimizer: sgd() });
    const one = row(trainer, requests[0]!);
    const features = rowGradients(trainer);
    const ask = { of: 'hallucinated', parameters: 'output' } as const;
    const [vector] = await features.gradients(requests.slice(0, 1), ask);
    // ∂ -log p(ŷ) / ∂W = (p - e_ŷ) hᵀ: the row of a token that is ŷ at no position has the sign of h only, by p.
    const hidden = (await trainer.read([one], hiddenStates))[0]!;
    const [width, predictionsOfRow] = [16, one.tokens.length - 1];
    const expected = new Array<number>(8 * width).fill(0);
    const head = await model.weights['lm_head.weight']!.toArray();
    for (let t = 0; t < predictionsOfRow; t++) {
      const h = Array.from(hidden.subarray(t * width, (t + 1) * width));
      const logits = Array.from({ length: 8 }, (_, v) => dot(h, head.slice(v * width, (v + 1) * width)));
      const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
      const top = logits.indexOf(Math.max(...logits));
      logits.forEach((z, v) => {
        const slope = (Math.exp(z) / total - (v === top ? 1 : 0)) * one.weights[t]!;
        for (let j = 0; j < width; j++) expected[v * width + j]! += slope * h[j]!;
      });
    }
    expectNear(Array.from(vector!), expected, 1e-5);
    await expect(features.gradients(requests, { direction: 'adam' })).rejects.toThrow(/keeps no mean of/);
    await expect(rowGradients(await start()).gradients(requests, ask)).rejects.toThrow(/output layer is not trained/);
    await expect(features.gradients(requests, { projection: 0 })).rejects.toThrow(/projection is 0/);
  });
});

describe('federated averaging', () => {
  const tokensOf = (of: readonly TrainingRow[]) => of.reduce((sum, { tokens }) => sum + tokens.length - 1, 0);
  const shards = [rows.slice(0, 1), rows.slice(1)];
  /** Steps of SGD from given parameters. */
  const trained = async (
    start: Named | undefined,
    of: readonly TrainingRow[],
    steps = 1,
    penalties = (_: Named): Penalty[] => [],
  ) => {
    const trainer = await tiny();
    if (start) await trainer.assign(start);
    const from = await trainer.copyParameters();
    for (let i = 0; i < steps; i++) {
      await trainer.forwardBackward(rowsOf(of.map(({ tokens }) => [...tokens])), negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.1, penalties: penalties(from) });
    }
    return trainer.copyParameters();
  };
  const clients: Readonly<Record<string, FederatedClient>> = Object.fromEntries(
    shards.map((of, i) => [
      `client ${i}`,
      async ({ parameters }) => ({ parameters: await trained(parameters, of), examples: tokensOf(of) }),
    ]),
  );
  const startOf = async () => (await tiny()).copyParameters();

  it('is SGD on all rows where every client makes one step, also when the server sees sums only', async () => {
    const parameters = await startOf();
    const pooled = await flat(await trained(parameters, rows, 2));
    const plain = await fedAvg({ parameters, clients, rounds: 2 });
    expectNear(await flat(plain.parameters), pooled, 1e-5);
    const hidden = await fedAvg({ parameters, clients, rounds: 2, aggregation: secureAggregation() });
    // Two clients lose half of 2⁻²⁰ each, in both rounds.
    expectNear(await flat(hidden.parameters), await flat(plain.parameters), 2 * 2 ** -20 + 1e-6);
    expect(hidden.history[0]).toEqual({ clients: ['client 0', 'client 1'], lost: [], examples: tokensOf(rows) });
  });

  const theirs = JSON.parse(readFileSync(join(goldens, 'authors/federated.json'), 'utf8')) as {
    rounds: { examples: number[]; clients: [number[], number[][]][]; mean: [number[], number[][]] }[];
    prox: {
      begun: [number[][], number[]];
      local: [number[][], number[]];
      gradients: [number, [number[][], number[]]][];
    };
  };
  it.each(theirs.rounds)(
    'averages clients of $examples rows as Flower does',
    async ({ examples, clients: given, mean }) => {
      const named = ([a, b]: [number[], number[][]]): Named => ({ a: tensor(a), b: tensor(b) });
      const of = given.map(
        (one, i) => [`${i}`, async () => ({ parameters: named(one), examples: examples[i]! })] as const,
      );
      const parameters = named([
        [9, 9, 9],
        [
          [9, 9],
          [9, 9],
        ],
      ]);
      const found = await fedAvg({ parameters, clients: Object.fromEntries(of), rounds: 1 });
      expectNear(await flat(found.parameters), mean.flat(2), 1e-6);
    },
  );

  it.each(theirs.prox.gradients)('FedProx has the gradient of Flower’s client at μ = %d', async (mu, gradient) => {
    const named = ([w, b]: [number[][], number[]]): Named => ({ w: tensor(w), b: tensor(b) });
    const { tensors, compute } = fedProx(named(theirs.prox.begun), { mu });
    const { gradient: ours } = valueAndGrad((at: Named) => [compute(at, tensors!), {}] as const)(
      named(theirs.prox.local),
    );
    expectNear(await flat(ours), gradient.flat(2), 1e-6);
  });

  it('averages factors of LoRA, which is not the average of what they stand for', async () => {
    const pair = (a: number, b: number): Named => ({ a: tensor([a]), b: tensor([b]) });
    const given = [pair(1, 3), pair(3, 1)].map(
      (parameters, i) => [`${i}`, async () => ({ parameters, examples: 1 })] as const,
    );
    const { parameters } = await fedAvg({ parameters: pair(0, 0), clients: Object.fromEntries(given), rounds: 1 });
    const [a, b] = [await parameters.a!.item(), await parameters.b!.item()];
    expect([a, b, a * b]).toEqual([2, 2, 4]);
    expect((1 * 3 + 3 * 1) / 2).toBe(3);
  });

  it('goes on without a client that is lost, whose masks are taken off, and refuses a round with too few', async () => {
    const at =
      (value: number): FederatedClient =>
      async () => ({ parameters: { w: tensor([value, -value]) }, examples: 2 });
    const lost: FederatedClient = async () => undefined;
    const parameters = { w: tensor([0, 0]) };
    const all = { parameters, rounds: 1, clients: { a: at(1), b: at(2), c: lost, d: at(6) } };
    for (const aggregation of [undefined, secureAggregation({ minClients: 3 })]) {
      const found = await fedAvg({ ...all, ...(aggregation && { aggregation }) });
      expectNear(await flat(found.parameters), [3, -3], 1e-5);
      expect(found.history[0]).toEqual({ clients: ['a', 'b', 'd'], lost: ['c'], examples: 6 });
    }
    const few = { ...all, clients: { a: at(1), b: at(2), c: lost } };
    await expect(fedAvg({ ...few, aggregation: secureAggregation({ minClients: 3 }) })).rejects.toThrow(
      SecureAggregationError,
    );
    await expect(fedAvg({ ...few, minClients: 3 })).rejects.toThrow(
      /round 0: 2 of 3 clients answered, and 3 are needed/,
    );
    const some = await fedAvg({ ...all, clients: { a: at(1), b: at(1), c: at(1) }, rounds: 4, clientsPerRound: 2 });
    expect(some.history.every(({ clients: asked }) => asked.length === 2)).toBe(true);
    expect(new Set(some.history.map(({ clients: asked }) => `${asked}`)).size).toBeGreaterThan(1);
    const odd: FederatedClient = async () => ({ parameters: { w: tensor([1]) }, examples: 1 });
    await expect(fedAvg({ ...all, clients: { odd } })).rejects.toThrow(/client odd has w as \[1\], not \[2\]/);
  });

  it('shows the server nothing but the sum', () => {
    const aggregation = secureAggregation({ minClients: 3 });
    const people = ['a', 'b', 'c', 'd'].map((name) => aggregation.participant(name, 7));
    const keys = new Map(people.map(({ name, publicKey }) => [name, publicKey]));
    const n = 2000;
    const sent = new Map(people.map((one) => [one.name, one.masked(new Float64Array(n).fill(0.5), keys)]));
    for (const numbers of sent.values()) {
      // Uniform: the mean of n words, within five standard errors, and no word twice in a row.
      const mean = numbers.reduce((sum, word) => sum + word / 2 ** 32, 0) / n;
      expect(Math.abs(mean - 0.5)).toBeLessThan(5 / Math.sqrt(12 * n));
      expect(new Set(numbers).size).toBeGreaterThan(n - 5);
    }
    expect([...aggregation.sum(sent)]).toEqual(new Array(n).fill(2));
    // One is lost; a sum without its seeds is noise, with them it is that of the others.
    sent.delete('b');
    expect(() => aggregation.sum(sent, new Map(), ['b'])).toThrow(/has not revealed its seed with b/);
    const left = people.filter(({ name }) => name !== 'b');
    const revealed = new Map(left.map((one) => [one.name, one.reveal(['b'])]));
    expect([...aggregation.sum(sent, revealed, ['b'])]).toEqual(new Array(n).fill(1.5));
    // What would unmask one of those that have sent.
    expect(() => left[0]!.reveal(['c'])).toThrow(/revealed its seeds of this round already/);
    expect(() => people[1]!.reveal(['a', 'c'])).toThrow(/reveals nothing: 2 clients are left, and 3 are needed/);
    expect(() => people[1]!.masked(Float64Array.of(0, 600), keys)).toThrow(
      /number 1 of b is 600.*room for less than 512/,
    );
  });

  it('FedProx pulls a client back to where the round began, by its formula', async () => {
    const start = await startOf();
    const far = await flat(await trained(start, rows, 6));
    const held = await flat(await trained(start, rows, 6, (from) => [fedProx(from, { mu: 5 })]));
    const from = await flat(start);
    const distance = (x: readonly number[]) => norm(x.map((value, i) => value - from[i]!));
    expect(distance(held)).toBeLessThan(0.5 * distance(far));
    // Two steps by hand: the second has the first one's way times μ in its gradient.
    const one = await trained(start, rows);
    const plain = await flat(await trained(one, rows));
    const two = await flat(await trained(start, rows, 2, (begun) => [fedProx(begun, { mu: 2 })]));
    const after = await flat(one);
    expectNear(
      two,
      plain.map((x, i) => x - 0.1 * 2 * (after[i]! - from[i]!)),
      1e-6,
    );
  });
});
