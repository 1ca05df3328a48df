import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realize, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import type { Scorer } from '@posttrain/interfaces';
import { CausalLM, LocalGenerator, LocalScorer, loadWeights, parseModelConfig, trainTokenizer } from '@posttrain/lm';
import { createAdapter, loadAdapter, lora } from '@posttrain/peft';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { streamRows, writeJsonl } from '../../data/src/index.js';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  dpSgd,
  dynamicFineTuning,
  ewc,
  labelSmoothing,
  latestCheckpoint,
  loadCheckpoint,
  negativeLogLikelihood,
  packRows,
  type RowSource,
  type SftOptions,
  type SftRow,
  type StepMetrics,
  saveCheckpoint,
  sft,
  sftFeedOf,
  sftScorerTrainer,
  type TokenizedRow,
  type TokenLoss,
  Trainer,
  tokenizeRows,
  toTrainingRows,
} from '../src/index.js';
import { sftOptions } from '../src/sft/sft-options.js';
import { lettersModel } from './letters.js';
import { modelOf } from './model.js';
import { countingRows, smallRun, start } from './sft-run.js';

const goldens = join(import.meta.dirname, '../../../goldens');

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sft-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the loss', async () => {
  interface Case {
    readonly micro_batches: readonly (readonly number[])[];
    readonly loss_type: 'nll' | 'dft' | 'label_smoothing';
    readonly packed: boolean;
    readonly loss: number;
    readonly metrics_of_last: Readonly<Record<string, number>>;
  }
  const golden = JSON.parse(await readFile(join(goldens, 'sft/loss.json'), 'utf8')) as {
    readonly rows: readonly Readonly<Record<string, unknown>>[];
    readonly cases: readonly Case[];
  };

  const losses = { nll: negativeLogLikelihood, dft: dynamicFineTuning, label_smoothing: labelSmoothing() };
  it.each(golden.cases)(
    '$loss_type and its gradient are those of TRL: $micro_batches, packed $packed',
    async ({ loss_type, micro_batches, packed, loss, metrics_of_last }) => {
      const model = modelOf(await loadWeights(join(goldens, 'models/llama')));
      const rows = tokenizeRows(model, golden.rows).rows;
      const trainer = await Trainer.create(model, { optimizer: sgd(), maxGradNorm: 0 });
      const training = packed ? toTrainingRows(packRows(rows, 24)) : toTrainingRows(rows);
      let total = 0;
      let result = { tokens: 0, metrics: {} as Readonly<Record<string, number>> };
      for (const indices of packed ? [[0]] : micro_batches) {
        const { loss: part, ...rest } = await trainer.forwardBackward(
          indices.map((i) => training[i]!),
          losses[loss_type],
        );
        total += part;
        result = rest;
      }
      expect(Math.abs(total - loss)).toBeLessThan(2e-6);
      if (micro_batches.length === 1) {
        expect(result.tokens).toBe(metrics_of_last.num_tokens);
        expect(Math.abs(result.metrics.entropy! - metrics_of_last.entropy!)).toBeLessThan(1e-5);
        expect(result.metrics.mean_token_accuracy).toBeCloseTo(metrics_of_last.mean_token_accuracy!, 6);
      }
      // A step of plain gradient descent with rate 1 shows the gradient.
      await trainer.optimStep({ learningRate: 1 });
      const file = await openSafetensors(
        join(goldens, `sft/loss${loss_type === 'nll' ? '' : `-${loss_type}`}.safetensors`),
      );
      const gradients = [...file.tensors.keys()].filter((key) => key.startsWith(`${loss_type}.`));
      expect(gradients.length).toBeGreaterThan(0);
      for (const key of gradients) {
        const name = key.slice(`${loss_type}.`.length);
        const [before, after] = [await model.weights[name]!.data(), await trainer.parameters[name]!.data()];
        const expected = (await file.read(key)).data;
        before.forEach((value, i) => {
          expect(Math.abs(value - after[i]! - expected[i]!)).toBeLessThan(1e-5);
        });
      }
      await file.close();
    },
  );
});

describe('sft', () => {
  it('minimises the loss that it is given, with penalties', async () => {
    const adapter = await createAdapter((await start).model, lora, { r: 4, targetModules: 'all-linear' });
    const anchors = adapter.parameters;
    const fisher = mapNamed(anchors, (x) => x.mul(0).add(1));
    await realize(Object.values(fisher));
    const run = (options: Partial<SftOptions>) =>
      smallRun({ adapter, epochs: 2, learningRate: 0.01, loggingSteps: 1, ...options });
    const plain = await run({});
    const held = await run({ penalties: [ewc({ anchors, fisher, lambda: 1e4 })] });
    const moved = async ({ trainer }: typeof plain) => {
      const distances = Object.entries(trainer.parameters).map(
        async ([name, x]) => await x.sub(anchors[name]!).square().sum().item(),
      );
      return (await Promise.all(distances)).reduce((a, b) => a + b);
    };
    expect(await moved(held)).toBeLessThan((await moved(plain)) / 4);
    expect(held.history[0]!.metrics['penalty/ewc']).toBe(0);
    expect(held.history.at(-1)!.metrics['penalty/ewc']).toBeGreaterThan(0);
    const dft = await run({ loss: dynamicFineTuning });
    // Its first loss is that of the same rows, each token times its probability.
    expect(dft.history[0]!.metrics.loss!).toBeLessThan(plain.history[0]!.metrics.loss!);
    expect(dft.history[0]!.metrics.entropy).toBe(plain.history[0]!.metrics.entropy);
    const both = {
      update: dpSgd({ maxGradNorm: 1, noiseMultiplier: 1 }),
      penalties: [ewc({ anchors, fisher, lambda: 1 })],
    };
    await expect(run(both)).rejects.toThrow(/dp-sgd makes the step by itself and knows no penalties/);
    await expect(run({ loss: { ...negativeLogLikelihood, groupSize: 2 } })).rejects.toThrow(
      /it must be a loss of rows that do not belong together/,
    );
    await expect(run({ loss: 'dft' as never })).rejects.toThrow(/loss is "dft"; it must be a loss/);
    const none = { name: 'none', compute: () => undefined as never };
    await expect(run({ penalties: [none] })).rejects.toThrow(/penalty none: compute gave undefined/);
  });

  it('tells penalties of one name apart, in what is logged and where a run goes on', async () => {
    const adapter = await createAdapter((await start).model, lora, { r: 2, targetModules: 'all-linear' });
    const named = (value: number) => ({
      name: 'same',
      tensors: { value: tensor([value], []) },
      compute: (_: Named, tensors: Named) => tensors.value!,
    });
    const outputFolder = join(folder, 'penalties');
    const run = (values: readonly number[], options: Partial<SftOptions> = {}) =>
      smallRun({ adapter, penalties: values.map(named), outputFolder, saveSteps: 1, warmupSteps: 0, ...options });
    const { history } = await run([1, 3], { steps: 1, loggingSteps: 1 });
    expect(history[0]!.metrics).toMatchObject({ 'penalty/same': 1, 'penalty/same.2': 3 });
    for (const [values, said] of [
      [[2, 3], /penalties\.same\.tensors was/],
      [[1, 4], /penalties\.same\.2\.tensors was/],
      [[1], /penalties\.same\.2\.tensors was .* and is not given/],
    ] as const) {
      await expect(run(values, { steps: 2, resume: true, allowChanged: ['steps'] })).rejects.toThrow(said);
    }
  });

  it('learns a batch by heart: its loss goes to nothing, and what it says is the batch', async () => {
    const rows = ['ab', 'cd', 'ef'].map(([prompt, completion]) => ({ prompt, completion: completion!.repeat(3) }));
    const shared = { batchSize: 3, steps: 60, learningRate: 0.02, schedule: 'constant' } as const;
    const { trainer, history } = await sft({ ...shared, model: await lettersModel(1), rows });
    const last = history.at(-1)!.metrics;
    expect(history[0]!.metrics.loss).toBeGreaterThan(1.5);
    expect(last.loss).toBeLessThan(2e-3);
    expect(last.mean_token_accuracy).toBe(1);
    const said = await new LocalGenerator(trainer.model).generate(
      rows.map(({ prompt }) => ({ prompt: prompt!, maxTokens: 8, temperature: 0 })),
    );
    expect(said.map(([one]) => one!.text)).toEqual(rows.map(({ completion }) => completion));
  });

  it('with DFT climbs the mean probability of the targets: its gradient is that of -p, and the step says so', async () => {
    const trainer = await Trainer.create(await lettersModel(2), { optimizer: sgd(), maxGradNorm: 0 });
    const rows = toTrainingRows(
      ['abca', 'fed'].map((text) => ({
        tokens: [...text].map((letter) => 'abcdefg'.indexOf(letter)),
        mask: [...text].map(() => 1),
      })),
    );
    const expected: TokenLoss = {
      ...{ name: 'probability', annotations: [] },
      compute: ({ logProbs, weights }) => ({ loss: logProbs.exp().mul(weights).sum().neg(), metrics: {} }),
    };
    const gradients = async (loss: TokenLoss) => {
      const result = await trainer.forwardBackward(rows, loss);
      return { loss: result.loss, gradients: await trainer.takeGradients() };
    };
    const [dft, plain] = [await gradients(dynamicFineTuning), await gradients(expected)];
    let squared = 0;
    for (const [name, gradient] of Object.entries(dft.gradients)) {
      const [a, b] = await Promise.all([gradient.toArray(), plain.gradients[name]!.toArray()]);
      expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThan(1e-6);
      squared += a.reduce((sum, x) => sum + x * x, 0);
    }
    const learningRate = 0.01;
    await trainer.optimStep({ learningRate, gradients: dft.gradients });
    const rise = plain.loss - (await trainer.evaluate(rows, expected)).loss;
    // To first order, and a step of SGD that goes somewhere.
    expect(rise / (learningRate * squared)).toBeGreaterThan(0.9);
    expect(rise / (learningRate * squared)).toBeLessThan(1.1);
  });

  it('learns, and logs what Hugging Face’s trainers and TRL log', async () => {
    const entries: StepMetrics[] = [];
    const adapter = await createAdapter((await start).model, lora, { r: 4, targetModules: 'all-linear' });
    const { history, summary, trainer, report } = await smallRun({
      adapter,
      learningRate: 0.05,
      epochs: 20,
      onLog: (entry) => entries.push(entry),
    });
    expect(entries).toEqual(history);
    expect(trainer.step).toBe(60);
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(Object.keys(first).sort()).toEqual([
      'entropy',
      'epoch',
      'grad_norm',
      'learning_rate',
      'loss',
      'mean_token_accuracy',
      'num_tokens',
    ]);
    expect(last.loss).toBeLessThan(first.loss! / 3);
    expect(last.mean_token_accuracy).toBeGreaterThan(0.8);
    expect(history.at(-1)).toMatchObject({ step: 59, metrics: { epoch: 20 } });
    expect(last.num_tokens).toBe(20 * countingRows.reduce((sum, { input_ids }) => sum + input_ids.length, 0));
    expect(Object.keys(summary)).toContain('train_loss');
    expect(report).toEqual({ truncated: 0, dropped: 0, retokenizedPrompts: 0, trainedRows: 12 });
  });

  it('uses the learning rates of the schedule', async () => {
    const { history } = await smallRun({ loggingSteps: 1, steps: 6 });
    const rates = history.map(({ metrics }) => metrics.learning_rate! / 0.01);
    [0, 0.5, 1, 0.75, 0.5, 0.25].forEach((rate, i) => {
      expect(rates[i]).toBeCloseTo(rate, 12);
    });
  });

  it('gives one result however much memory a pass may take', async () => {
    // Dropout would draw other elements for other passes.
    const adapter = await createAdapter((await start).model, lora, { r: 4 });
    const [whole, split] = await Promise.all(
      [4096, 16].map((maxTokensPerPass) => smallRun({ adapter, steps: 3, loggingSteps: 1, maxTokensPerPass })),
    );
    whole!.history.forEach(({ metrics: { loss, grad_norm } }, i) => {
      expect(split!.history[i]!.metrics.loss).toBeCloseTo(loss!, 5);
      expect(split!.history[i]!.metrics.grad_norm).toBeCloseTo(grad_norm!, 5);
    });
  });

  it('gives the same loss and gradient packed as unpacked, and another if sequences saw each other', async () => {
    const { model } = await start;
    const { rows } = tokenizeRows(model, countingRows);
    const run = async (choose: (rows: readonly TokenizedRow[]) => readonly TokenizedRow[]) => {
      const trainer = await Trainer.create(model, { optimizer: sgd(), maxGradNorm: 0 });
      const { loss } = await trainer.forwardBackward(toTrainingRows(choose(rows)), negativeLogLikelihood);
      const { gradNorm } = await trainer.optimStep({ learningRate: 1 });
      return { loss, gradNorm, weight: await trainer.parameters['model.layers.0.self_attn.k_proj.weight']!.toArray() };
    };
    const unpacked = await run((all) => all);
    const packed = await run((all) => packRows(all, 32));
    const mixed = await run((all) => packRows(all, 32).map(({ tokens, mask }) => ({ tokens, mask })));
    expect(packed.loss).toBeCloseTo(unpacked.loss, 5);
    packed.weight.forEach((value, i) => {
      expect(value).toBeCloseTo(unpacked.weight[i]!, 5);
    });
    expect(Math.abs(mixed.loss - unpacked.loss)).toBeGreaterThan(1e-2);
  });

  describe('packing while streaming', () => {
    const model = start.then(({ model }) => model);
    /** The rows that `take` gives, of a source that counts on from request to request. */
    const streamed = async (packingBuffer: number, more: object = {}, rows: RowSource<SftRow> = counting()) => {
      const settings = { model: await model, rows, packing: true, packingBuffer, steps: 9, batchSize: 2, ...more };
      return sftFeedOf({ ...sftOptions.read(settings), maxLength: 16 });
    };
    const counting = (): RowSource<SftRow> => {
      let at = 0;
      return {
        name: 'counting',
        next: ({ count }) => Array.from({ length: count }, () => ({ row: countingRows[at++ % countingRows.length]! })),
        state: () => at,
        load(state) {
          at = state as number;
        },
      };
    };
    const text = (rows: readonly { readonly tokens: readonly number[] }[]) =>
      rows.map((row) => row.tokens.join()).sort();

    it.each(['bfd', 'bfd_split', 'wrapped'] as const)(
      'packs each buffer as a list is packed, every row of it once, in any order (%s)',
      async (packingStrategy) => {
        const feed = await streamed(6, { packingStrategy });
        const { rows } = tokenizeRows(await model, countingRows, { maxLength: 16 });
        const buffers = [rows.slice(0, 6), rows.slice(6)].map((some) => packRows(some, 16, packingStrategy));
        const taken = [];
        while (taken.length < buffers.flat().length) taken.push(...(await feed.take(taken.length / 2)));
        const first = buffers[0]!.length;
        expect(text(taken.slice(0, first))).toEqual(text(buffers[0]!));
        expect(text(taken.slice(first, first + buffers[1]!.length))).toEqual(text(buffers[1]!));
        expect(feed.report.trainedRows).toBe(taken.length);
      },
    );

    it('does not go on in a source that gives other rows, or fewer', async () => {
      const only = (rows: readonly SftRow[]): RowSource<SftRow> => ({
        name: 'other',
        next: ({ count }) => Array.from({ length: count }, (_, i) => ({ row: rows[i % rows.length]! })),
      });
      const whole = await streamed(12, { batchSize: 3 }, only(countingRows));
      await whole.take(0);
      for (const [rows, more] of [
        [countingRows.toReversed(), {}],
        [countingRows.slice(0, 1), {}],
      ] as const) {
        const other = await streamed(12, { batchSize: 3, ...more }, only(rows));
        await expect(other.load!(whole.state!())).rejects.toThrow(
          /the source other gives other rows than when the che/,
        );
      }
    });

    it('goes on after any step with the same rows, also inside of a buffer, and of a source without a state', async () => {
      const stateless: RowSource<SftRow> = {
        name: 'of the step',
        next: ({ count, step }) =>
          Array.from({ length: count }, (_, i) => ({ row: countingRows[(5 * step + i) % 12]! })),
      };
      for (const rows of [counting, () => stateless]) {
        const whole = await streamed(5, {}, rows());
        const given: unknown[] = [];
        for (let step = 0; step < 9; step++) {
          given.push(await whole.take(step));
          const rest = await streamed(5, {}, rows());
          await rest.load!(JSON.parse(JSON.stringify(whole.state!())));
          const next = await rest.take(step + 1);
          const saved = whole.state!();
          expect(await whole.take(step + 1)).toEqual(next);
          await whole.load!(saved);
        }
        expect(new Set(given.map((batch) => JSON.stringify(batch))).size).toBeGreaterThan(6);
      }
    });

    const three = { row: { input_ids: [1, 2, 3], labels: [-100, -100, 3] } };
    const threes = { name: 'threes', next: ({ count }: { count: number }) => Array<typeof three>(count).fill(three) };
    it.each<[object, RegExp]>([
      [{ rows: countingRows }, /packingBuffer is of rows of a source; a list is packed all together/],
      [{ rows: new Set(countingRows) }, /an iterable is read whole.*rows: await streamRows\(file\)/],
      [
        { maxLength: 2, packingStrategy: 'wrapped', packingBuffer: 1, rows: threes },
        /leaves no trained token; raise maxLength/,
      ],
    ])('refuses what it cannot pack: %o', async (options, message) => {
      const given = { packing: true, packingBuffer: 4, steps: 2, ...options };
      await expect(smallRun(given)).rejects.toThrow(message);
    });
  });

  it('trains a whole model, and reports what became of the rows', async () => {
    const model = await tinyModel('gpt2');
    const rows = [...countingRows, { input_ids: [1, 2, 3, 4, 5, 6], labels: [-100, -100, -100, -100, -100, 6] }];
    const result = await sft({
      model,
      rows,
      maxLength: 5,
      packing: true,
      steps: 2,
      learningRate: 1e-3,
      outputFolder: folder,
    });
    expect(result.adapter).toBeUndefined();
    expect(result.report).toMatchObject({ dropped: 1, truncated: 7 });
    const saved = await loadWeights(join(folder, 'checkpoint-2'));
    const name = 'transformer.h.0.mlp.c_fc.weight';
    expect(await saved.weights[name]!.toArray()).toEqual(await result.trainer.model.weights[name]!.toArray());
  });

  it.each([
    [{ learningrate: 1 }, /unknown option "learningrate". Did you mean "learningRate"/],
    [{ batchSize: 0 }, /batchSize is 0; it must be a whole number of at least 1/],
    [{ saveSteps: 5 }, /saveSteps and resume need an outputFolder/],
    [{ resume: true }, /need an outputFolder/],
    [{ schedule: 'cubic' }, /schedule is "cubic"; it must be one of "constant"/],
    [{ optimizer: sgd(), weightDecay: 0.1 }, /has a weightDecay of its own/],
    [{ rows: [] }, /no rows to train on/],
  ])('refuses %o', async (options, message) => {
    await expect(smallRun(options as object)).rejects.toThrow(message);
  });

  it('draws dropout from the seed and the step', async () => {
    const losses = async (seed: number) =>
      (await smallRun({ rows: [countingRows[0]!], batchSize: 1, steps: 3, seed, loggingSteps: 1 })).history.map(
        ({ metrics }) => metrics.loss,
      );
    const [one, again, other] = [await losses(1), await losses(1), await losses(2)];
    expect(again).toEqual(one);
    // B is zero at first, so what is dropped shows from the second update on.
    expect(other[0]).toBe(one[0]);
    expect(other[2]).not.toBe(one[2]);
  });
});

describe('sftScorerTrainer', () => {
  const rows = [
    { prompt: 'ab', completion: 'cd' },
    { prompt: 'b', completion: 'ga' },
  ];
  const asked = [...rows, { prompt: 'ab', completion: 'ff' }].map(({ prompt, completion }) => ({
    prompt,
    continuation: completion,
  }));
  const logProbs = async (scorer: Scorer) => (await scorer.score(asked)).map(({ logProb }) => logProb);

  it.each([true, false])(
    'trains each time from the same start, beside one another (with an adapter: %s)',
    async (adapted) => {
      const model = await lettersModel(1);
      const adapter = adapted
        ? { adapter: await createAdapter(model, lora, { r: 4, targetModules: 'all-linear' }, { seed: 1 }) }
        : {};
      const trainer = sftScorerTrainer({ model, ...adapter, learningRate: 0.02, epochs: 10, onWarning: () => {} });
      const before = await logProbs(new LocalScorer(model));
      const first = await trainer.train(rows.slice(0, 1), { seed: 3 });
      const other = await trainer.train(rows.slice(1), { seed: 3 });
      const again = await trainer.train(rows.slice(0, 1), { seed: 3 });
      const [a, b] = [await logProbs(first), await logProbs(other)];
      // Each knows its own row best.
      expect(a[0]! - before[0]!).toBeGreaterThan(0.5);
      expect(a[0]!).toBeGreaterThan(b[0]!);
      expect(b[1]!).toBeGreaterThan(a[1]!);
      expect(await logProbs(again)).toEqual(a);
      expect(await logProbs(new LocalScorer(model))).toEqual(before);
    },
  );

  it('is no scorer of half the rows when it is stopped, and trains conversations by their template only', async () => {
    const model = await lettersModel(1);
    const stop = new AbortController();
    const trainer = sftScorerTrainer({ model, steps: 20, onWarning: () => {} });
    const onProgress = () => stop.abort(new Error('enough'));
    await expect(trainer.train(rows, { signal: stop.signal, onProgress })).rejects.toThrow('enough');
    await expect(trainer.train([])).rejects.toThrow(/no rows to train on/);
    const talk = [{ prompt: [{ role: 'user', content: 'a' }], completion: 'b' }];
    await expect(trainer.train(talk)).rejects.toThrow(/chat template/);
  });
});

describe('checkpoints', () => {
  const bytesOf = async (checkpoint: string, names = ['adapter_model.safetensors', 'optimizer.safetensors']) =>
    Promise.all(names.map((name) => readFile(join(checkpoint, name))));

  it('are folders with the adapter, the optimizer and Hugging Face’s trainer_state.json', async () => {
    const { adapter } = await smallRun({ outputFolder: folder, saveSteps: 5, saveTotalLimit: 2 });
    expect((await readdir(folder)).sort()).toEqual(['checkpoint-10', 'checkpoint-12', 'metrics.jsonl']);
    const checkpoint = join(folder, 'checkpoint-12');
    expect((await readdir(checkpoint)).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'checksums.json',
      'optimizer.safetensors',
      'trainer_state.json',
    ]);
    const loaded = await loadAdapter((await start).model, checkpoint);
    for (const [name, value] of Object.entries(loaded.parameters)) {
      expect(await value.toArray()).toEqual(await adapter!.parameters[name]!.toArray());
    }
    const { state } = await loadCheckpoint(checkpoint);
    expect(state).toMatchObject({ global_step: 12, epoch: 4, max_steps: 12, train_batch_size: 4, best_metric: null });
    expect((state.log_history as { step: number }[]).map(({ step }) => step)).toEqual([5, 10, 12]);
  });

  it('make a resumed run the same run, bit for bit, log included', async () => {
    const [straight, resumed] = [join(folder, 'a'), join(folder, 'b')];
    const whole = await smallRun({ outputFolder: straight, saveSteps: 7 });
    await cp(join(straight, 'checkpoint-7'), join(resumed, 'checkpoint-7'), { recursive: true });
    const rest = await smallRun({ outputFolder: resumed, resume: true });
    expect(rest.history).toEqual(whole.history);
    expect(rest.summary.train_loss).toBe(whole.summary.train_loss);
    expect(await bytesOf(join(resumed, 'checkpoint-12'))).toEqual(await bytesOf(join(straight, 'checkpoint-12')));
  });

  it('are refused by a run with other rows or another adapter', async () => {
    await smallRun({ outputFolder: folder, steps: 2 });
    const resume = join(folder, 'checkpoint-2');
    await expect(smallRun({ resume, rows: countingRows.slice(1) })).rejects.toThrow(/rows was \w+ and is \w+/);
    await expect(smallRun({ resume, batchSize: 3 })).rejects.toThrow(/batchSize was 4 and is 3/);
    const { model } = await start;
    const adapter = await createAdapter(model, lora, { r: 4, loraAlpha: 4, targetModules: 'all-linear' });
    await expect(smallRun({ resume, adapter })).rejects.toThrow(
      /adapter.loraAlpha was 8 and is 4; adapter.loraDropout was 0.1 and is 0/,
    );
    await expect(smallRun({ resume, learningRate: 0.5 })).rejects.toThrow(/learningRate was .* and is 0.5/);
    await expect(smallRun({ resume: join(folder, 'checkpoint-9') })).rejects.toThrow(/is not a checkpoint/);
  });

  it('appear whole or not at all', async () => {
    const snapshot = { step: 3, tensors: {} };
    const state = { global_step: 3 };
    const fails = saveCheckpoint(folder, {
      snapshot,
      state,
      async writeModel(into) {
        await writeFile(join(into, 'half'), 'written');
        throw new Error('no space left on device');
      },
    });
    await expect(fails).rejects.toThrow('no space left');
    expect(await readdir(folder)).toEqual([]);
    expect(await latestCheckpoint(folder)).toBeUndefined();
    expect(await latestCheckpoint(join(folder, 'nowhere'))).toBeUndefined();
    await saveCheckpoint(folder, { snapshot, state });
    expect(await latestCheckpoint(folder)).toBe(join(folder, 'checkpoint-3'));
  });
});

describe('pretraining', () => {
  it('begins with a config and texts: tokenizer, new weights, rows streamed from files; a run goes on at its row', async () => {
    const words = ['the red fox', 'a blue bird', 'one old tree', 'sees', 'finds', 'likes', 'the moon', 'a stone'];
    const text = (i: number) => `${words[i % 3]} ${words[3 + ((5 * i) % 3)]} ${words[6 + (i % 2)]}.`;
    const rows = Array.from({ length: 40 }, (_, i) => ({ text: text(i) }));
    await writeJsonl(join(folder, 'train.jsonl'), rows);

    const tokenizer = await trainTokenizer(
      rows.map((row) => row.text),
      { vocabSize: 300 },
    );
    const config = parseModelConfig({
      ...{ model_type: 'llama', vocab_size: tokenizer.vocabSize, hidden_size: 16, intermediate_size: 32 },
      ...{ num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 32 },
    });
    const model = await CausalLM.initialize({ config, tokenizer, name: 'new' }, 0);
    const train = async (name: string, steps: number, more: Partial<SftOptions> = {}) =>
      sft({
        ...{ model, rows: await streamRows(join(folder, 'train.jsonl'), { bufferSize: 16 }), steps, batchSize: 4 },
        ...{ learningRate: 0.03, schedule: 'constant', outputFolder: join(folder, name), saveSteps: 4, ...more },
      });
    const whole = await train('a', 10);
    const [first, last] = [whole.history[0]!.metrics.loss!, whole.history.at(-1)!.metrics.loss!];
    // It begins by knowing nothing: log of the size of the vocabulary.
    expect(first).toBeCloseTo(Math.log(tokenizer.vocabSize), 1);
    expect(last).toBeLessThan(0.75 * first);
    const packing = { packing: true, packingBuffer: 20, maxLength: 32, batchSize: 2 };
    const packed = await train('c', 7, packing);
    for (const [from, into, straight, more] of [
      ['a', 'b', whole, {}],
      ['c', 'd', packed, packing],
    ] as const) {
      await cp(join(folder, from, 'checkpoint-4'), join(folder, into, 'checkpoint-4'), { recursive: true });
      const rest = await train(into, straight.history.length, { resume: true, ...more });
      expect(rest.history).toEqual(straight.history);
      for (const [name, value] of Object.entries(straight.trainer.parameters)) {
        expect(await rest.trainer.parameters[name]!.toArray()).toEqual(await value.toArray());
      }
    }
    const otherBuffer = train('d', 7, { resume: true, ...packing, packingBuffer: 10 });
    await expect(otherBuffer).rejects.toThrow(/packingBuffer was 20 and is 10/);
    const other = streamRows(join(folder, 'train.jsonl'), { bufferSize: 8 });
    await expect(train('b', 10, { resume: true, rows: await other })).rejects.toThrow(
      /rows.bufferSize was 16 and is 8/,
    );
  });
});
