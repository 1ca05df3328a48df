import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Key,
  ones,
  referenceEngine,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import {
  adamW,
  mapNamed,
  type Named,
  type OptimizerChoice,
  type OptimizerSpec,
  optimizers,
  sgd,
} from '@posttrain/core-tensor/optim';
import { loadWeights } from '@posttrain/lm';
import { createAdapter, lora, loraFa, loraPlus } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keptBytes } from '../../core-tensor/test/peak-bytes.js';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  latestCheckpoint,
  negativeLogLikelihood,
  type OffloadOptimizerOptions,
  type SftOptions,
  sft,
  type TokenLoss,
  Trainer,
  type TrainingRow,
} from '../src/index.js';
import { decaysInTransformers } from '../src/trainer/decay.js';
import { contents, modelOf, wideModel } from './model.js';
import { countingRows } from './sft-run.js';

const goldens = join(import.meta.dirname, '../../../goldens');
const rows: TrainingRow[] = [
  [3, 17, 4, 9, 12, 7],
  [9, 2, 31],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 7) }));

let folder: string;
beforeAll(async () => {
  setEngine(onnxruntimeEngine());
  folder = await mkdtemp(join(tmpdir(), 'optimizers-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const choices: Readonly<Record<string, OptimizerChoice>> = {
  ...Object.fromEntries(Object.keys(optimizers).map((name) => [name, name as keyof typeof optimizers])),
  // What a tiny model would not reach by itself: new projections, and momentum.
  galore_adamw: { name: 'galore_adamw', rank: 3, updateInterval: 2 },
  sgd: { name: 'sgd', momentum: 0.9, nesterov: true },
  loraPlus: loraPlus({ learningRateRatio: 4 }),
  loraFa: loraFa(),
};

describe.each(Object.entries(choices))('sft with %s', (name, optimizer) => {
  const isLora = name.startsWith('lora');

  it('goes on from a checkpoint to the very same weights, and lowers the loss', async () => {
    const isEightBit = name.endsWith('8bit');
    const model = isEightBit ? await wideModel() : await tinyModel('llama');
    const adapter = isLora
      ? await createAdapter(model, lora, { r: 4, targetModules: 'all-linear' }, { seed: 7 })
      : undefined;
    // A rule that does not see the size of a gradient needs another rate than one that does.
    const learningRate = name === 'sgd' ? 0.1 : name.startsWith('lion') ? 2e-3 : 0.01;
    const run = (outputFolder: string, epochs: number, resume: boolean) =>
      sft({
        model,
        ...(adapter && { adapter }),
        rows: countingRows,
        batchSize: 4,
        epochs,
        steps: 8,
        schedule: 'cosine',
        learningRate,
        optimizer,
        outputFolder: join(folder, outputFolder),
        saveSteps: 3,
        resume,
      });
    const whole = await run(`${name}-whole`, 3, false);
    const first = whole.history[0]!.metrics.loss!;
    expect(whole.history.at(-1)!.metrics.loss!).toBeLessThan(first);
    const parts = join(folder, `${name}-whole`);
    await rm((await latestCheckpoint(parts))!, { recursive: true });
    const resumed = await run(`${name}-whole`, 3, true);
    expect(resumed.trainer.step).toBe(8);
    const dtypes = Object.values(resumed.trainer.snapshot().tensors).map(({ dtype }) => dtype);
    expect(dtypes.includes('uint8')).toBe(isEightBit);
    for (const [key, p] of Object.entries(whole.trainer.parameters)) {
      expect(await resumed.trainer.parameters[key]!.toArray(), key).toEqual(await p.toArray());
    }
  });
});

describe('offloadOptimizer', () => {
  // Several groups, one of which is a parameter that is larger.
  const nvme = () => ({ device: 'nvme', nvmePath: join(folder, 'offloaded'), subGroupSize: 3000 }) as const;
  const places: readonly (readonly [OptimizerChoice, OffloadOptimizerOptions['device']])[] = [
    ['adamw_torch', 'nvme'],
    ['adamw_torch', 'cpu'],
    ['adafactor', 'nvme'],
    [{ name: 'sgd', momentum: 0.9 }, 'nvme'],
  ];

  it.each(places)(
    '%o with its states on %s: the same numbers, from either to the other too',
    async (optimizer, device) => {
      const model = await tinyModel('llama');
      const offloadOptimizer = device === 'cpu' ? { device, subGroupSize: 3000 } : nvme();
      const make = (isOffloaded: boolean) =>
        Trainer.create(model, { optimizer, ...(isOffloaded && { offloadOptimizer }) });
      const steps = async (trainer: Trainer) => {
        for (let i = 0; i < 2; i++) {
          await trainer.forwardBackward(rows, negativeLogLikelihood);
          await trainer.optimStep({ learningRate: 0.01 });
        }
        return contents(trainer);
      };
      const [plain, offloaded, plainThen, offloadedThen] = await Promise.all([false, true, false, true].map(make));
      expect(await contents(offloaded!)).toEqual(await contents(plain!));
      const half = await steps(plain!);
      expect(await steps(offloaded!)).toEqual(half);
      offloadedThen!.restore(plain!.snapshot());
      plainThen!.restore(offloaded!.snapshot());
      expect(await contents(offloadedThen!)).toEqual(half);
      const [a, b] = [await steps(offloadedThen!), await steps(plainThen!)];
      expect(a).not.toEqual(half);
      expect(b).toEqual(a);
      // As a run that goes back to its best weights.
      offloadedThen!.restore(offloadedThen!.snapshot());
      expect(await steps(offloadedThen!)).toEqual(await steps(plainThen!));
    },
  );

  it('makes the checkpoints that there are without it, byte for byte, and goes on from them', async () => {
    const model = await tinyModel('llama');
    const run = (name: string, options: Partial<SftOptions>) => {
      const settings = { batchSize: 4, steps: 3, saveSteps: 2, learningRate: 0.01, outputFolder: join(folder, name) };
      return sft({ model, rows: countingRows, ...settings, ...options });
    };
    const states = (name: string, step: number) =>
      readFile(join(folder, name, `checkpoint-${step}`, 'optimizer.safetensors'));
    await run('kept', {});
    await run('offloaded-run', { offloadOptimizer: nvme() });
    for (const step of [2, 3])
      expect((await states('offloaded-run', step)).equals(await states('kept', step))).toBe(true);
    for (const [name, options] of [
      ['kept', { offloadOptimizer: nvme() }],
      ['offloaded-run', {}],
    ] as const) {
      await rm(join(folder, name, 'checkpoint-3'), { recursive: true });
      await run(name, { ...options, resume: true });
    }
    expect((await states('offloaded-run', 3)).equals(await states('kept', 3))).toBe(true);
    // The file has no name.
    expect(await readdir(join(folder, 'offloaded'))).toEqual([]);
  });

  it('reads no state that an update has replaced, and none of an update that failed', async () => {
    const model = await tinyModel('llama');
    const trainer = await Trainer.create(model, { optimizer: adamW(), offloadOptimizer: nvme() });
    const step = async () => {
      await trainer.forwardBackward(rows, negativeLogLikelihood);
      return trainer.optimStep({ learningRate: 0.01 });
    };
    await step();
    const { mean } = trainer.optimizerState['model.norm.weight']!;
    const { tensors } = trainer.snapshot();
    const kept = await contents(trainer);
    await step();
    await expect(mean!.data()).rejects.toThrow(/mean\.model\.norm\.weight .* an update has been made since/);
    // What was restored is somebody's: here it can be read no more, so the update stops half-way.
    trainer.restore({
      step: 1,
      tensors: {
        ...trainer.snapshot().tensors,
        'state.mean.model.norm.weight': tensors['state.mean.model.norm.weight']!,
      },
    });
    await expect(step()).rejects.toThrow(/an update has been made since/);
    expect(() => trainer.snapshot()).toThrow(/resume from the last checkpoint/);
    expect(kept['state.step']).toEqual([1]);
  });

  it.each([
    ['muon', { device: 'cpu' }, /muon does not say that it updates every parameter by itself/],
    ['galore_adamw', { device: 'cpu' }, /galore does not say/],
    ['adamw_torch', { device: 'nvme' }, /needs nvmePath/],
    ['adamw_torch', { device: 'cpu', nvmePath: 'x' }, /leave nvmePath out/],
    ['adamw_torch', { device: 'disk' }, /device/],
  ] as const)('refuses %s with %o', async (optimizer, offloadOptimizer, problem) => {
    const model = await tinyModel('llama');
    await expect(Trainer.create(model, { optimizer, offloadOptimizer: offloadOptimizer as never })).rejects.toThrow(
      problem,
    );
  });
});

describe('optimizers of sft', () => {
  const base = async () => ({ model: await tinyModel('llama'), rows: countingRows, steps: 1 });

  it('refuses names and options that do not exist, and two weight decays', async () => {
    await expect(sft({ ...(await base()), optimizer: 'adamw_8bits' as never })).rejects.toThrow(/adamw_torch/);
    await expect(sft({ ...(await base()), optimizer: { name: 'muon', step: 3 } as never })).rejects.toThrow(/steps/);
    await expect(sft({ ...(await base()), optimizer: sgd(), weightDecay: 0.1 })).rejects.toThrow(/weightDecay/);
    await expect(
      sft({ ...(await base()), optimizer: { name: 'sgd', weightDecay: 0.1 }, weightDecay: 0.1 }),
    ).rejects.toThrow(/weightDecay/);
    await expect(sft({ ...(await base()), schedule: 'linear', scheduleSettings: { minimum: 0.1 } })).rejects.toThrow(
      /minimum/,
    );
  });

  it('does not go on with other options of the optimizer', async () => {
    const outputFolder = join(folder, 'options');
    const run = (momentum: number, resume: boolean) =>
      base().then((options) => sft({ ...options, outputFolder, resume, optimizer: { name: 'sgd', momentum } }));
    await run(0.9, false);
    await expect(run(0.8, true)).rejects.toThrow(/optimizer.momentum was 0.9 and is 0.8/);
  });
});

describe('loraPlus', () => {
  const golden = JSON.parse(readFileSync(join(goldens, 'optim/lora-plus.json'), 'utf8')) as {
    learning_rate: number;
    learning_rate_ratio: number;
    learning_rate_of_embeddings: number;
    parameters: Record<string, { shape: number[]; learning_rate: number; weight_decay: number }>;
  };

  it('has the rates of PEFT', async () => {
    setEngine(referenceEngine());
    const parameters = Object.fromEntries(
      Object.entries(golden.parameters).map(([name, { shape }]) => [name, zeros(shape)]),
    );
    const rule = loraPlus({
      learningRateRatio: golden.learning_rate_ratio,
      embeddingFactor: golden.learning_rate_of_embeddings / golden.learning_rate,
      optimizer: sgd(),
    });
    const gradients = mapNamed(parameters, (p) => ones(p.shape));
    const state = rule.init(parameters);
    const { parameters: after } = rule.update(parameters, gradients, state, scalar(golden.learning_rate));
    for (const [name, { learning_rate: rate }] of Object.entries(golden.parameters)) {
      expect((await after[name]!.toArray())[0]! / -rate, name).toBeCloseTo(1, 6);
    }
    expect(Object.keys(after)).toEqual(Object.keys(parameters));
    setEngine(onnxruntimeEngine());
  });

  it('refuses adapters it does not fit', () => {
    const matrix = zeros([2, 2]);
    expect(() => loraPlus().init({ 'x.lora_A.weight': matrix })).toThrow(/group 0 matches no parameter/);
    expect(() => loraPlus({ learningRateRatio: 0.5 })).toThrow(/at least 1/);
    const embedded = { 'x.lora_B.weight': matrix, 'x.lora_A.weight': matrix, 'e.lora_embedding_A': matrix };
    expect(() => loraPlus().init(embedded)).toThrow(/e\.lora_embedding_A is in no group/);
  });
});

describe('loraFa', () => {
  const reference = async <T>(body: () => Promise<T>): Promise<T> => {
    setEngine(referenceEngine());
    return body().finally(() => setEngine(onnxruntimeEngine()));
  };

  it('takes the steps of PEFT, with an AdamW that has no ε', () =>
    reference(async () => {
      const file = await openSafetensors(join(goldens, 'optim/lora-fa.safetensors'));
      const read = async (prefix: string) => {
        const names = [...file.tensors.keys()].filter((key) => key.startsWith(prefix));
        const entries = names.map(async (key) => {
          const { data, shape } = await file.read(key);
          return [key.slice(prefix.length), tensor(data as Float32Array, shape)] as const;
        });
        return Object.fromEntries(await Promise.all(entries));
      };
      const rule = loraFa({ loraAlpha: 6, alphaPattern: { two: 1.5 }, optimizer: adamW({ epsilon: 1e-12 }) });
      let parameters = await read('initial.');
      let state = rule.init(parameters);
      for (let step = 0; step < 3; step++) {
        const gradients = await read(`step${step}.gradient.`);
        ({ parameters, state } = rule.update(parameters, gradients, state, scalar(0.01)));
        for (const [name, parameter] of Object.entries(parameters)) {
          const { data } = await file.read(`step${step}.${name}`);
          const difference = parameter.sub(tensor(data as Float32Array, parameter.shape));
          expect(await difference.abs().max().item(), `${name} after step ${step}`).toBeLessThan(1e-6);
        }
      }
      await file.close();
    }));

  it('keeps of the pass what enters B, and no input of a layer for A', () =>
    reference(async () => {
      const [t, n, r] = [6, 8, 2];
      const random = (seed: number, shape: readonly number[]) =>
        tensor(Key.fromSeed(seed).normalHost(shape.reduce((a, b) => a * b)), [...shape]);
      const names = ['0.lora_A.weight', '0.lora_B.weight', '1.lora_A.weight', '1.lora_B.weight', '2.lora_A.weight', '2.lora_B.weight']; // biome-ignore format: names
      const factors = Object.fromEntries(
        names.map((name, i) => [name, random(i, name.includes('_A') ? [r, n] : [n, r])]),
      );
      const { trains } = loraFa();
      const config = lora.options.read({ r, loraAlpha: 3 });
      // Three frozen layers, one behind the other.
      const loss = (trained: Named) => {
        let x = random(20, [t, n]);
        for (const i of [0, 1, 2]) {
          const weight = random(10 + i, [n, n]);
          const shape = { inFeatures: n, outFeatures: n, layer: 0, transposed: false, weight, bias: undefined };
          const own = Object.fromEntries(
            ['A', 'B'].map((f) => [`lora_${f}.weight`, { ...factors, ...trained }[`${i}.lora_${f}.weight`]!]),
          );
          const apply = (y: Tensor) => y.matmul(weight, { transposeB: true });
          x = lora.apply(x, { name: `${i}`, kind: 'linear', ...shape, apply }, own, config);
        }
        return x.mul(random(30, [t, n])).sum();
      };
      const kept = (isTrained: (name: string) => boolean) => {
        const variables = Object.fromEntries(Object.entries(factors).filter(([name]) => isTrained(name)));
        const { value, gradient } = valueAndGrad(loss)(variables);
        return keptBytes(value, Object.values(gradient as Named));
      };
      // A x of each layer, r wide; for the gradient of A also what the second and the third have read.
      expect(kept((name) => trains!(name, factors[name]!))).toBe(4 * 3 * t * r);
      expect(kept(() => true)).toBe(4 * (3 * t * r + 2 * t * n));
    }));

  it('moves the weight by its gradient, as far as the rows of A go, whichever basis they are', () =>
    reference(async () => {
      const [r, s, rate] = [2, 3, 0.1];
      const a = tensor(Key.fromSeed(1).normalHost(r * 5), [r, 5]);
      const gradient = tensor(Key.fromSeed(2).normalHost(4 * 5), [4, 5]);
      const change = (factor: typeof a) => {
        const rule = loraFa({ loraAlpha: s * r, optimizer: sgd() });
        const parameters = { 'm.lora_A.weight': factor, 'm.lora_B.weight': zeros([4, r]) };
        const gradients = { 'm.lora_B.weight': gradient.matmul(factor, { transposeB: true }).mul(s) };
        const { parameters: after } = rule.update(parameters, gradients, rule.init(parameters), scalar(rate));
        expect(after['m.lora_A.weight']).toBe(factor);
        return after['m.lora_B.weight']!.matmul(factor).mul(s / -rate);
      };
      const moved = change(a);
      const left = await gradient.sub(moved).matmul(a, { transposeB: true }).abs().max().item();
      expect(left).toBeLessThan(1e-6);
      const turned = change(tensor([[2, 1], [-1, 3]]).matmul(a)); // biome-ignore format: a matrix
      expect(await turned.sub(moved).abs().max().item()).toBeLessThan(1e-6);
    }));

  it('gives A no gradient, and refuses what is no LoRA', () => {
    const matrix = zeros([2, 2]);
    expect(loraFa().trains!('m.lora_A.weight', matrix)).toBe(false);
    expect(loraFa().trains!('m.lora_B.weight', matrix)).toBe(true);
    expect(() => loraFa().init({ 'm.ia3_l': matrix })).toThrow(/no parameter ends in .lora_A.weight/);
  });
});

describe('Trainer', () => {
  const start = () => loadWeights(join(goldens, 'models/qwen3'));

  it('refuses to update without gradients', async () => {
    const trainer = await Trainer.create(modelOf(await start()), { optimizer: 'sgd' });
    await expect(trainer.optimStep({ learningRate: 1 })).rejects.toThrow(/forwardBackward before optimStep/);
    await trainer.forwardBackward(rows, negativeLogLikelihood);
    await trainer.optimStep({ learningRate: 0 });
    await expect(trainer.optimStep({ learningRate: 1 })).rejects.toThrow(/forwardBackward before optimStep/);
  });

  /** The loss, by way of a float16 that overflows at 65504. */
  const halfLoss: TokenLoss = {
    ...negativeLogLikelihood,
    name: 'half',
    compute: ({ logProbs, weights }) => ({
      loss: logProbs.neg().mul(weights).cast('float16').cast('float32').sum(),
      metrics: {},
    }),
  };

  it('loss scaling: an overflow skips the update and halves the scale, and the result is that without scaling', async () => {
    const parts = await start();
    const name = 'model.layers.0.mlp.up_proj.weight';
    const plain = await Trainer.create(modelOf(parts), { optimizer: 'sgd' });
    await plain.forwardBackward(rows, halfLoss);
    const { gradNorm: norm } = await plain.optimStep({ learningRate: 0.1 });

    const lossScaling = { initialScale: 2 ** 18, growthInterval: 2 };
    const trainer = await Trainer.create(modelOf(parts), { optimizer: 'sgd', lossScaling });
    const scale = async () => [
      await trainer.snapshot().tensors['lossScale.scale']!.item(),
      await trainer.snapshot().tensors['lossScale.growthTracker']!.item(),
    ];
    const before = await trainer.parameters[name]!.toArray();
    const { loss } = await trainer.forwardBackward(rows, halfLoss);
    expect(loss).toBeLessThan(20);
    expect(await trainer.optimStep({ learningRate: 0.1 })).toMatchObject({ skipped: true });
    expect([trainer.step, ...(await scale())]).toEqual([0, 2 ** 17, 0]);
    expect(await trainer.parameters[name]!.toArray()).toEqual(before);
    // 2^17 overflows as well, 2^16 does not: a cotangent is the scale itself.
    for (const skipped of [true, true, false]) {
      await trainer.forwardBackward(rows, halfLoss);
      const result = await trainer.optimStep({ learningRate: 0.1 });
      expect(result.skipped).toBe(skipped);
      if (!skipped) expect(Math.abs(result.gradNorm / norm - 1)).toBeLessThan(1e-3);
    }
    expect([trainer.step, ...(await scale())]).toEqual([1, 2 ** 15, 1]);
    const [ours, theirs] = [await trainer.parameters[name]!.toArray(), await plain.parameters[name]!.toArray()];
    ours.forEach((value, i) => {
      expect(Math.abs(value - theirs[i]!)).toBeLessThan(1e-5);
    });

    // The scale is part of a snapshot.
    const other = await Trainer.create(modelOf(parts), { optimizer: 'sgd', lossScaling });
    other.restore(trainer.snapshot());
    expect(await other.snapshot().tensors['lossScale.scale']!.item()).toBe(2 ** 15);
    await other.forwardBackward(rows, halfLoss);
    await other.optimStep({ learningRate: 0 });
    expect(await other.snapshot().tensors['lossScale.scale']!.item()).toBe(2 ** 16);
  });

  it('loss scaling: a gradient that is not finite at the lowest scale stops the run', async () => {
    const broken: TokenLoss = {
      ...negativeLogLikelihood,
      name: 'broken',
      // Finite, but with an infinite derivative.
      compute: ({ logProbs, weights }) => ({ loss: logProbs.mul(weights).mul(0).abs().sqrt().sum(), metrics: {} }),
    };
    const trainer = await Trainer.create(modelOf(await start()), {
      optimizer: 'sgd',
      lossScaling: { initialScale: 2 },
    });
    await trainer.forwardBackward(rows, broken);
    expect(await trainer.optimStep({ learningRate: 1 })).toMatchObject({ skipped: true });
    await trainer.forwardBackward(rows, broken);
    await expect(trainer.optimStep({ learningRate: 1 })).rejects.toThrow(/the gradient norm is/);
  });
});

describe('weight decay', () => {
  const { decay } = JSON.parse(readFileSync(join(goldens, 'optim/conventions.json'), 'utf8')) as {
    decay: Record<string, Record<string, boolean>>;
  };
  it.each(Object.entries(decay))('%s: of the parameters that decay in transformers’ Trainer', (_, names) => {
    // PEFT's names have the adapter's, "default", in them.
    const ours = Object.keys(names).map((name) => [
      name,
      decaysInTransformers(name.replace('.default', ''), ones([2])),
    ]);
    expect(Object.fromEntries(ours)).toEqual(names);
  });

  it.each(Object.keys(optimizers) as (keyof typeof optimizers)[])('of norms there is none, with %s', async (name) => {
    const model = await tinyModel('gpt2');
    const step = async (weightDecay: number) => {
      const trainer = await Trainer.create(model, { optimizer: { name, weightDecay } as OptimizerSpec });
      await trainer.forwardBackward([{ tokens: [1, 2, 3], weights: [0.5, 0.5] }], negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.1 });
      return Promise.all(
        ['transformer.h.0.ln_1.weight', 'transformer.h.0.attn.c_attn.bias', 'transformer.h.0.mlp.c_fc.weight'].map(
          (parameter) => trainer.parameters[parameter]!.toArray(),
        ),
      );
    };
    const [plain, decayed] = [await step(0), await step(0.5)];
    expect(decayed.slice(0, 2)).toEqual(plain.slice(0, 2));
    expect(decayed[2]).not.toEqual(plain[2]);
  });
});
