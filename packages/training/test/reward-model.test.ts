import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, sgd } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import { ChatTemplate, loadWeights, SequenceClassifier, TokenClassifier, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  bradleyTerry,
  outcomeReward,
  type ProcessRow,
  processReward,
  type RewardExample,
  type RewardModelLoss,
  type RewardModelOptions,
  type RewardPair,
  type RewardPairRow,
  rewardExampleRows,
  rewardModelLosses,
  rewardModelOptions,
  rewardRows,
  Trainer,
  trainingShape,
  trainRewardModel,
} from '../src/index.js';
import { drawing, gainOf, lettersModel } from './letters.js';
import { contents, expectClose } from './model.js';
import { golden, goldens, processGolden } from './reward-goldens.js';

beforeAll(() => setEngine(referenceEngine()));

/** The parts of a golden head model, with a tokenizer that is not looked at. */
const headParts = async (folder: string) => ({
  ...(await loadWeights(join(goldens, 'heads', folder))),
  tokenizer: (await tinyModel('llama')).tokenizer,
  name: folder,
});
const rewardModel = async () => new SequenceClassifier(await headParts('llama-reward'));
const tokenizerOf = async (name: string) => {
  const tokenizer = await Tokenizer.load(join(goldens, 'tokenizers', name));
  return { tokenizer, chatTemplate: await ChatTemplate.load(tokenizer), name, labels: ['no', 'yes'] };
};
/** A row as its loss would have it. */
const made = (example: RewardExample | string): RewardExample => {
  if (typeof example === 'string') throw new Error(example);
  return example;
};

const pairsOf = (sequences: readonly (readonly number[])[], margin?: readonly number[] | null) =>
  Array.from({ length: sequences.length / 2 }, (_, i) => ({
    chosenTokens: sequences[2 * i]!,
    rejectedTokens: sequences[2 * i + 1]!,
    ...(margin && { margin: margin[i]! }),
  }));

describe('bradleyTerry', () => {
  it.each(golden.cases)(
    'is TRL’s loss, gradient and metrics: margin $margin, η $center_rewards_coefficient',
    async (expected) => {
      const trainer = await Trainer.create(await rewardModel(), { optimizer: sgd() });
      const rows = rewardRows(pairsOf(golden.sequences, expected.margin));
      const { center_rewards_coefficient: centerRewardsCoefficient } = expected;
      const loss = bradleyTerry(centerRewardsCoefficient === null ? {} : { centerRewardsCoefficient });
      const result = await trainer.forwardBackward(rows, loss);
      const gradients = await trainer.takeGradients();
      expect(result.loss).toBeCloseTo(expected.loss, 6);
      expectClose(await gradients['score.weight']!.toArray(), expected.score);
      expectClose(await gradients['model.norm.weight']!.toArray(), expected.norm);
      for (const [name, value] of Object.entries(result.metrics))
        expect(value, name).toBeCloseTo(expected.metrics[name]!, 5);
      expect(Object.keys(result.metrics).sort()).toEqual(Object.keys(expected.metrics).sort());
    },
  );

  it('is the same in one pass and in three, of which two are padded', async () => {
    const rows = rewardRows(pairsOf(golden.sequences, [0.5, -0.25, 0]));
    const loss = bradleyTerry({ centerRewardsCoefficient: 0.05 });
    const numbers = async (maxTokensPerPass: number) => {
      const trainer = await Trainer.create(await rewardModel(), { optimizer: sgd(), maxTokensPerPass });
      const result = await trainer.forwardBackward(rows, loss);
      const { 'model.norm.weight': norm } = await trainer.takeGradients();
      return [result.loss, ...Object.values(result.metrics), ...(await norm!.toArray())];
    };
    expectClose(await numbers(4096), await numbers(16));
  });

  it('learns the log-odds of what is preferred: the maximum of the likelihood of counts', () =>
    onEngine(onnxruntimeEngine(), async () => {
      // Of two answers the first is preferred three times of four, so r₁ - r₂ = log 3 at the optimum.
      const model = await SequenceClassifier.fromCausalLM(await tinyModel('llama', 3));
      const trainer = await Trainer.create(model, { optimizer: adamW(), maxGradNorm: 0 });
      const [a, b] = [
        [5, 6, 7],
        [5, 9, 4],
      ] as const;
      const pair = (chosenTokens: readonly number[], rejectedTokens: readonly number[]) => ({
        chosenTokens,
        rejectedTokens,
      });
      const rows = rewardRows([pair(a, b), pair(a, b), pair(a, b), pair(b, a)]);
      const loss = bradleyTerry();
      for (let step = 0; step < 60; step++) {
        await trainer.forwardBackward(rows, loss);
        await trainer.optimStep({ learningRate: step < 40 ? 0.01 : 0.002 });
      }
      const trained: SequenceClassifier = trainer.model;
      const [[first], [second]] = (await trained.logits([[...a], [...b]])) as [Float32Array, Float32Array];
      expect(Math.abs(first! - second! - Math.log(3))).toBeLessThan(0.02);
    }));

  it('does not see a constant that is added to all rewards, but for η', async () => {
    const lossAt = async (shift: number, centerRewardsCoefficient = 0) => {
      const rewards = tensor(
        Float32Array.from([0.3, -1.1, 2, 0.4], (r) => r + shift),
        [4, 1],
      );
      const inputs = {
        weights: tensor(Float32Array.from([0.5, 0.5, 0.5, 0.5]), [4, 1]),
        segments: tensor(new Int32Array(8).fill(1), [4, 2], 'int32'),
        annotations: { margin: tensor(Float32Array.from([0, 0, 0.5, 0.5]), [4]) },
        scalars: {},
      };
      return bradleyTerry({ centerRewardsCoefficient })
        .computeFrom(() => rewards as never, inputs)
        .loss.item();
    };
    expect(await lossAt(10)).toBeCloseTo(await lossAt(0), 5);
    expect(await lossAt(10, 0.1)).toBeGreaterThan((await lossAt(0, 0.1)) + 10);
  });

  it('trains an adapter and the head beside a frozen trunk', async () => {
    const model = await SequenceClassifier.fromCausalLM(await tinyModel('llama', 3));
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj'] });
    const trainer = await Trainer.create(model, { optimizer: adamW(), adapter });
    const rows = rewardRows([{ chosenTokens: [5, 6, 7], rejectedTokens: [5, 9, 4] }]);
    const losses: number[] = [];
    for (let step = 0; step < 8; step++) {
      losses.push((await trainer.forwardBackward(rows, bradleyTerry())).loss);
      await trainer.optimStep({ learningRate: 0.05 });
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
    expect(trainer.model).toBe(model);
  });

  it('refuses packed rows, several outputs, and models without a head', async () => {
    const rows = rewardRows([{ chosenTokens: [5, 6, 7], rejectedTokens: [5, 9, 4] }]);
    const causal = await tinyModel('llama', 3);
    const trainer = await Trainer.create(causal, { optimizer: adamW() });
    await expect(trainer.forwardBackward(rows, bradleyTerry())).rejects.toThrow(/causal language model without a head/);
    const packed = rows.map((row) => ({ ...row, lengths: [2, 1] }));
    await expect(trainer.forwardBackward(packed, bradleyTerry())).rejects.toThrow(/row 0: packs 2 sequences/);
    expect(() => bradleyTerry({ centerRewardsCoefficient: -1 })).toThrow(/centerRewardsCoefficient/);
  });
});

describe('outcomeReward', () => {
  const rows = rewardExampleRows(
    golden.sequences.map((tokens, i) => ({
      count: 1,
      rows: [
        {
          tokens,
          weights: tokens.slice(1).map((_, t) => +(t === tokens.length - 2)),
          annotations: { label: [golden.outcome.labels[i]!] },
        },
      ],
    })),
  );

  it.each([4096, 16])(
    'is transformers’ loss and gradient, of at most %d tokens in a pass',
    async (maxTokensPerPass) => {
      const trainer = await Trainer.create(await rewardModel(), { optimizer: sgd(), maxTokensPerPass });
      const { loss, metrics } = await trainer.forwardBackward(rows, outcomeReward());
      const gradients = await trainer.takeGradients();
      expect(loss).toBeCloseTo(golden.outcome.loss, 6);
      expectClose(await gradients['score.weight']!.toArray(), golden.outcome.score);
      expectClose(await gradients['model.norm.weight']!.toArray(), golden.outcome.norm);
      expect(metrics.accuracy).toBeCloseTo(3 / 6, 6);
    },
  );

  it('takes two labels as the log-odds of the second, and no more', async () => {
    const logits = (values: readonly number[], labels: number) => tensor(Float32Array.from(values), [2, labels]);
    const inputs = {
      weights: tensor(Float32Array.from([0.5, 0.5]), [2, 1]),
      annotations: { label: tensor(Float32Array.from([1, 0]), [2]) },
      segments: tensor(Int32Array.of(1, 1, 1, 1), [2, 2], 'int32'),
      scalars: {},
    };
    const lossOf = (values: ReturnType<typeof logits>) =>
      outcomeReward()
        .computeFrom(() => values as never, inputs)
        .loss.item();
    // -log σ(0.7) and -log(1 - σ(-1.2)).
    const expected = (Math.log1p(Math.exp(-0.7)) + Math.log1p(Math.exp(-1.2))) / 2;
    expect(await lossOf(logits([0.7, -1.2], 1))).toBeCloseTo(expected, 6);
    expect(await lossOf(logits([0.1, 0.8, 2, 0.8], 2))).toBeCloseTo(expected, 6);
    expect(() => lossOf(logits([1, 2, 3, 4, 5, 6], 3))).toThrow(/one or two labels, but the head has 3/);
  });
});

describe('processReward', () => {
  it.each(processGolden.tokens)(
    'has TRL’s tokens and labels: $tokenizer $settings',
    async ({ tokenizer, settings, rows }) => {
      const { step_separator: stepSeparator, max_completion_length: most, max_length, is_eval: isHeldOut } = settings;
      const loss = processReward({
        ...{ stepSeparator, trainOnLastStepOnly: settings.train_on_last_step_only },
        ...(most !== null && { maxCompletionLength: most }),
      });
      const model = await tokenizerOf(tokenizer);
      for (const [index, expected] of rows.entries()) {
        const options = { index, maxLength: max_length ?? 1024, isHeldOut };
        const example = loss.example(model, processGolden.rows[index]!, options);
        if (expected.labels.every((label) => label === -100)) {
          // TRL trains nothing with it and says nothing.
          expect(example).toBe('have no labelled step within maxLength 24');
          continue;
        }
        const { rows: ours, count } = made(example);
        const [row] = ours;
        expect(row!.tokens).toEqual(expected.input_ids);
        const labels = Array.from(row!.weights, (weight, t) => (weight === 0 ? -100 : row!.annotations!.label![t]!));
        expect([-100, ...labels]).toEqual(expected.labels);
        expect(count).toBe(expected.labels.filter((label) => label !== -100).length);
      }
    },
  );

  it.each(processGolden.losses)('is transformers’ loss, gradient and TRL’s accuracy: $model', async (expected) => {
    const trainer = await Trainer.create(new TokenClassifier(await headParts(expected.model)), {
      optimizer: sgd(),
      maxTokensPerPass: 32,
    });
    const rows = rewardExampleRows(
      expected.rows.map(({ input_ids: tokens, labels }) => ({
        count: labels.filter((label) => label !== -100).length,
        rows: [
          {
            tokens,
            weights: labels.slice(1).map((label) => +(label !== -100)),
            annotations: { label: labels.slice(1).map((label) => Math.max(0, label)) },
          },
        ],
      })),
    );
    const { loss, metrics } = await trainer.forwardBackward(rows, processReward());
    const gradients = await trainer.takeGradients();
    expect(loss).toBeCloseTo(expected.loss, 6);
    expect(metrics.accuracy).toBeCloseTo(expected.accuracy, 6);
    expectClose(await gradients['score.weight']!.toArray(), expected.score);
    expectClose(await gradients['model.norm.weight']!.toArray(), expected.norm);
  });

  it('is a sigmoid of one label, and of as many labels as equal logits the logarithm of their number', async () => {
    const inputs = (label: number) => ({
      weights: tensor(Float32Array.from([0, 1]), [1, 2]),
      annotations: { label: tensor(Int32Array.from([0, label]), [1, 2], 'int32') },
      segments: tensor(Int32Array.of(1, 1, 1), [1, 3], 'int32'),
      scalars: {},
    });
    const lossOf = (values: readonly number[], labels: number, label: number) =>
      processReward()
        .computeFrom(() => tensor(Float32Array.from(values), [1, 3, labels]) as never, inputs(label))
        .loss.item();
    expect(await lossOf([9, 9, 0.4], 1, 1)).toBeCloseTo(Math.log1p(Math.exp(-0.4)), 6);
    expect(await lossOf([9, 9, 0.4], 1, 0)).toBeCloseTo(Math.log1p(Math.exp(0.4)), 6);
    expect(await lossOf([9, 1, 2, 3, 4, 5, 0.4, 0.4, 0.4], 3, 2)).toBeCloseTo(Math.log(3), 6);
  });
});

describe('trainRewardModel', () => {
  it.each(golden.tokens)(
    'has the tokens of TRL’s RewardTrainer: $kind, $tokenizer',
    async ({ tokenizer, rows, tokens }) => {
      const model = await tokenizerOf(tokenizer);
      const ours = rows.map((row, index) =>
        made(bradleyTerry().example(model, row, { index, maxLength: 1024, isHeldOut: false })),
      );
      expect(ours.map((example) => example.rows.map((row) => row.tokens))).toEqual(tokens);
    },
  );

  it('takes the steps of TRL’s RewardTrainer: weights and log', async () => {
    const { steps } = golden;
    const ofTokens = bradleyTerry({ centerRewardsCoefficient: steps.center_rewards_coefficient });
    const loss: RewardModelLoss<RewardPair> = {
      ...ofTokens,
      example: (_, { chosenTokens, rejectedTokens, margin }) => ({
        rows: [chosenTokens, rejectedTokens].map((tokens) => ({
          ...{ tokens, weights: tokens.slice(1).map((__, t) => +(t === tokens.length - 2)) },
          annotations: { margin: [margin!] },
        })),
        count: 1,
      }),
    };
    const { trainer, history } = await trainRewardModel({
      ...{ model: await rewardModel(), rows: pairsOf(golden.sequences, steps.margin), loss },
      ...{ learningRate: steps.learning_rate, epochs: 3, batchSize: 3 },
    });
    expectClose(await trainer.parameters['score.weight']!.toArray(), steps.score, 1e-5);
    expectClose(await trainer.parameters['model.norm.weight']!.toArray(), steps.norm, 1e-5);
    for (const [i, { step: _, ...expected }] of steps.log.entries()) {
      for (const [name, value] of Object.entries(expected)) {
        expect(Math.abs(history[i]!.metrics[name]! - value), `${i} ${name}`).toBeLessThan(
          2e-5 * Math.max(1, Math.abs(value)),
        );
      }
    }
  });
});

describe('a reward model of letters', () => {
  let folder: string;
  beforeAll(async () => {
    setEngine(onnxruntimeEngine());
    folder = await mkdtemp(join(tmpdir(), 'reward-model-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Of two answers the one with a c in it is preferred. */
  function pairs(seed: number, count: number, isShuffled = false): RewardPairRow[] {
    const draw = drawing(seed);
    const letter = (of: string) => of[Math.floor(draw() * of.length)]!;
    const word = (of: string) => `${letter(of)}${letter(of)}${letter(of)}`;
    return Array.from({ length: count }, () => {
      const [prompt, rejected, start] = [`${word('abdef')}g`, word('abdef'), word('abdef')];
      const at = Math.floor(draw() * 3);
      const chosen = `${start.slice(0, at)}c${start.slice(at + 1)}`;
      const isSwapped = isShuffled && draw() < 0.5;
      return isSwapped ? { prompt, chosen: rejected, rejected: chosen } : { prompt, chosen, rejected };
    });
  }
  const run = async (seed: number, more: Partial<RewardModelOptions<RewardPairRow, SequenceClassifier>> = {}) =>
    trainRewardModel({
      model: await SequenceClassifier.fromCausalLM(await lettersModel(seed), { seed }),
      ...{ rows: pairs(seed, 48), evaluationRows: pairs(seed + 100, 64), learningRate: 0.01, epochs: 4, seed },
      ...more,
    });

  it('comes to prefer what is preferred, and nothing where the labels are shuffled', async () => {
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const accuracy = async (isShuffled: boolean) =>
        (await run(seed, { rows: pairs(seed, 48, isShuffled) })).history.at(-1)!.metrics.eval_accuracy!;
      gains.push((await accuracy(false)) - (await accuracy(true)));
    }
    expect(gainOf(gains).low).toBeGreaterThan(0.1);
  });

  it('killed after three steps and resumed, has the weights of a run that was not', async () => {
    const outputFolder = join(folder, 'killed');
    const straight = await run(4);
    const killed = run(4, {
      ...{ outputFolder, saveSteps: 1 },
      afterStep: ({ step, model }) => {
        expect(model).toBeInstanceOf(SequenceClassifier);
        if (step === 3) throw new Error('killed');
      },
    });
    await expect(killed).rejects.toThrow('killed');
    const resumed = await run(4, { outputFolder, saveSteps: 1, resume: true });
    expect(await contents(resumed.trainer)).toEqual(await contents(straight.trainer));
    const numbers = ({ history }: typeof resumed) =>
      history.map(({ step, metrics: { step_time: _, ...metrics } }) => ({ step, metrics }));
    expect(numbers(resumed)).toEqual(numbers(straight));
    const changes = {
      loss: [
        { loss: rewardModelLosses.bradleyTerry({ centerRewardsCoefficient: 0.1 }) },
        /loss.centerRewardsCoefficient was 0 and is 0.1/,
      ],
      epochs: [{ epochs: 5 }, /epochs was 4 and is 5/],
      steps: [{ steps: 5 }, /steps was .* and is 5/],
      batchSize: [{ batchSize: 7 }, /batchSize was 8 and is 7/],
      learningRate: [{ learningRate: 0.02 }, /learningRate was 0.01 and is 0.02/],
      maxLength: [{ maxLength: 30 }, /maxLength was 1024 and is 30/],
      rows: [{ rows: pairs(9, 48) }, /rows was \w+ and is \w+/],
    } as const;
    for (const [changed, said] of Object.values(changes)) {
      await expect(run(4, { outputFolder, resume: true, ...changed })).rejects.toThrow(said);
    }
    // Those of every training have their cases in runs.test.ts.
    const own = Object.entries(rewardModelOptions.shape).filter(([name]) => !Object.hasOwn(trainingShape, name));
    for (const [name, { decisive }] of own) if (decisive) expect(Object.keys(changes)).toContain(name);
    await expect(run(4, { maxLength: 4 })).rejects.toThrow(
      /no rows are left: 48 of 48 rows have more than maxLength 4 tokens/,
    );
  });

  it('takes rows of a source for so many steps, goes on where it was, and says what a source cannot have', async () => {
    const given = pairs(7, 24);
    const sourced = () => {
      let at = 0;
      return {
        ...{ name: 'in-turn', settings: { seed: 7 } },
        next: ({ count }: { readonly count: number }) =>
          Array.from({ length: count }, () => ({ row: given[at++ % given.length]! })),
        state: () => ({ at }),
        load: (state: unknown) => {
          at = (state as { at: number }).at;
        },
      };
    };
    const common = { batchSize: 2, steps: 4, epochs: undefined as never };
    const straight = await run(7, { ...common, rows: sourced() });
    // The entry of the last update, and not that of the evaluation behind it.
    const lastOf = ({ history }: typeof straight) => history.findLast(({ metrics }) => 'loss' in metrics)!;
    expect(lastOf(straight).step).toBe(3);
    expect(lastOf(straight).metrics).not.toHaveProperty('epoch');
    const outputFolder = join(folder, 'sourced');
    const killed = run(7, {
      ...{ ...common, rows: sourced(), outputFolder, saveSteps: 1 },
      afterStep: ({ step }) => {
        if (step === 2) throw new Error('killed');
      },
    });
    await expect(killed).rejects.toThrow('killed');
    const resumed = await run(7, { ...common, rows: sourced(), outputFolder, saveSteps: 1, resume: true });
    expect(await contents(resumed.trainer)).toEqual(await contents(straight.trainer));
    // With a list every update is a whole one, and rows begin anew.
    const listed = await run(7, { ...common, rows: given.slice(0, 3) });
    expect(lastOf(listed).metrics.epoch).toBeCloseTo(8 / 3, 6);
    const refused = [
      [{ rows: sourced(), steps: undefined }, /steps is missing; .* \(in-turn\) have no epochs/],
      [{ rows: { ...sourced(), load: undefined } as never }, /state\(\) and load\(\) come together/],
      [{ evaluationRows: sourced() as never }, /evaluationRows .* It is a source, .* read whole: readRows\(file\)/],
    ] as const;
    for (const [more, said] of refused) await expect(run(7, { ...common, ...more } as never)).rejects.toThrow(said);
  });

  it('is in its checkpoints as transformers has it, tokenizer and head, and a verifier when it is loaded', async () => {
    const [start, outputFolder] = [join(folder, 'start'), join(folder, 'whole')];
    await (await SequenceClassifier.fromCausalLM(await lettersModel(5))).save(start);
    const model = await SequenceClassifier.load(start);
    const { trainer } = await run(5, { model, outputFolder, epochs: 1 });
    const loaded = await SequenceClassifier.load(join(outputFolder, 'checkpoint-6'));
    const sequences = [
      [0, 1, 6, 3, 2, 3, 7],
      [4, 2, 7],
    ];
    expect(await loaded.logits(sequences)).toEqual(await trainer.model.logits(sequences));
    const [good, bad] = await loaded.verifier().verify([
      { prompt: 'abg', completion: 'dcd' },
      { prompt: 'abg', completion: 'ddd' },
    ]);
    expect(good!.score!).toBeGreaterThan(bad!.score!);
  });

  it('says which row is wrong, and what is left out', async () => {
    const row = { prompt: 'ab', chosen: 'c', rejected: 'd' };
    const warnings: string[] = [];
    const { dropped } = await run(6, {
      evaluationRows: [row],
      rows: [row, { ...row, chosen: 'd' }, { ...row, rejected: 'd'.repeat(40) }],
      onWarning: (message) => warnings.push(message),
    });
    expect(dropped).toBe(2);
    expect(warnings).toEqual([
      'trainRewardModel: left out: 1 of 3 rows are the same twice',
      'trainRewardModel: left out: 1 of 3 rows have more than maxLength 32 tokens',
    ]);
    for (const [wrong, said] of [
      [
        { prompt: 'ab', chosen: 'c' },
        /reward row 0: rejected must be a text or a list of messages, and is undefined; its columns are prompt, chosen/,
      ],
      [{ ...row, margin: '3' }, /reward row 0: margin must be a number/],
      [{ ...row, prompt: [] }, /prompt and chosen must both be texts/],
    ] as const) {
      await expect(run(6, { rows: [wrong as never] })).rejects.toThrow(said);
    }
    await expect(run(6, { centerRewardsCoefficient: 1 } as never)).rejects.toThrow(/η belongs to the loss/);
    await expect(run(6, { model: (await lettersModel(1)) as never })).rejects.toThrow(/must be a model with a head/);
    const outcome = {
      ...{ rows: [{ completion: 'a', label: 2 }] as never, loss: rewardModelLosses.outcome() as never },
    };
    await expect(run(6, outcome)).rejects.toThrow(/label must be true, false or a number of 0 to 1, and is 2/);
    const steps = { completions: ['a'], labels: [true] };
    for (const [wrong, said] of [
      [{ ...steps, prompt: [] }, /prompt must be a text/],
      [{ ...steps, prompt: 'a', labels: [] }, /labels must be a list of 1, one for each step/],
      [{ ...steps, prompt: 'a', labels: [2] }, /labels\[0\] must be true, false or a whole number of 0 to 1/],
      [{ ...steps, prompt: '', completions: [''] }, /a labelled step of one token and no prompt/],
    ] as const) {
      const loss = processReward({ stepSeparator: 'g' });
      await expect(run(6, { rows: [wrong as never], loss: loss as never })).rejects.toThrow(said);
    }
  });

  type Solution = ProcessRow & { readonly firstError: number };
  /** Solutions of three steps of two letters each; in half of them one step is wrong, and so all after it. */
  function solutions(seed: number, count: number, stepOf: (isRight: boolean, below: (n: number) => number) => string) {
    const draw = drawing(seed);
    const below = (n: number) => Math.floor(draw() * n);
    return Array.from({ length: count }, (): Solution => {
      const firstError = below(2) === 0 ? below(3) : -1;
      const completions = [0, 1, 2].map((i) => stepOf(i !== firstError, below));
      const labels = completions.map((_, i) => firstError < 0 || i < firstError);
      return { prompt: 'g', completions, labels, firstError };
    });
  }
  const joined = ({ completions }: ProcessRow, steps = 3) =>
    completions
      .slice(0, steps)
      .map((step) => `${step}g`)
      .join('');
  const options = { learningRate: 0.01, batchSize: 16, onWarning: () => {} };
  const outcomes = async (
    rows: readonly Solution[],
    seed: number,
    more: { readonly epochs: number },
    isRight = (row: Solution) => row.firstError < 0,
  ) => {
    const { trainer } = await trainRewardModel({
      ...{
        model: await SequenceClassifier.fromCausalLM(await lettersModel(seed), { seed }),
        ...options,
        ...more,
        seed,
      },
      rows: rows.map((row) => ({ prompt: 'g', completion: joined(row), label: isRight(row) })),
      loss: outcomeReward(),
    });
    const verifier = trainer.model.verifier();
    return async (asked: readonly string[]) => {
      const judged = await verifier.verify(asked.map((completion) => ({ prompt: 'g', completion })));
      return judged.map(({ score }) => 1 / (1 + Math.exp(-score!)));
    };
  };

  it('of outcomes tells right from wrong, calibrated on the mean and by bins, and not from shuffled labels', async () => {
    // A wrong step has an f in it.
    const stepOf = (isRight: boolean, below: (n: number) => number) =>
      `${'abcde'[below(5)]}${isRight ? 'abcde'[below(5)] : 'f'}`;
    const errors: number[] = [];
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const [train, held] = [solutions(seed, 160, stepOf), solutions(seed + 50, 100, stepOf)];
      // As many right as wrong of either kind, so that nothing can be learnt.
      const turns = { right: false, wrong: false };
      const shuffled = ({ firstError }: Solution) => {
        const kind = firstError < 0 ? 'right' : 'wrong';
        turns[kind] = !turns[kind];
        return turns[kind];
      };
      const [scored, control] = [
        await outcomes(train, seed, { epochs: 3 }),
        await outcomes(train, seed, { epochs: 3 }, shuffled),
      ];
      const answers = held.map((row) => joined(row));
      const auroc = (scores: readonly number[]) => {
        const of = (isRight: boolean) => scores.filter((_, i) => held[i]!.firstError < 0 === isRight);
        const wins = of(true).flatMap((a) => of(false).map((b) => (a > b ? 1 : a === b ? 0.5 : 0)));
        return wins.reduce((a: number, b) => a + b, 0) / wins.length;
      };
      const scores = await scored(answers);
      const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
      expect(Math.abs(mean - held.filter(({ firstError }) => firstError < 0).length / held.length)).toBeLessThan(0.05);
      gains.push(auroc(scores) - auroc(await control(answers)));
      // Expected calibration error of five bins.
      const bins = Array.from({ length: 5 }, (_, bin) =>
        scores.flatMap((score, i) =>
          Math.min(4, Math.floor(score * 5)) === bin ? [{ score, isRight: +(held[i]!.firstError < 0) }] : [],
        ),
      );
      const gaps = bins.map((bin) => Math.abs(bin.reduce((sum, { score, isRight }) => sum + score - isRight, 0)));
      errors.push(gaps.reduce((a, b) => a + b, 0) / scores.length);
    }
    expect(Math.max(...errors)).toBeLessThan(0.08);
    expect(gainOf(gains).low).toBeGreaterThan(0.1);
  });

  it('of steps finds the first error better than one of outcomes, from the same solutions', async () => {
    // A wrong step is aa: letters alone, which are a cheap sign of a wrong outcome, do not say so.
    const stepOf = (isRight: boolean, below: (n: number) => number) => (isRight ? ['ab', 'ba', 'bb'][below(3)]! : 'aa');
    const longer = { epochs: 4 };
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const [train, held] = [solutions(seed, 240, stepOf), solutions(seed + 50, 100, stepOf)];
      const { trainer } = await trainRewardModel({
        ...{
          model: await TokenClassifier.fromCausalLM(await lettersModel(seed), { seed }),
          ...options,
          ...longer,
          seed,
        },
        ...{ rows: train as readonly ProcessRow[], loss: processReward({ stepSeparator: 'g' }) },
      });
      const verifier = trainer.model.verifier({ stepTag: 'g', stepDelimiter: ',' });
      const judged = await verifier.verify(
        held.map(({ completions }) => ({ prompt: 'g', completion: completions.join(',') })),
      );
      const scored = await outcomes(train, seed, longer);
      const prefixes = await scored(held.flatMap((row) => [1, 2, 3].map((steps) => joined(row, steps))));
      const wrong = held.flatMap(({ firstError }, i) => (firstError < 0 ? [] : [{ firstError, i }]));
      const found = (scoresOf: (i: number) => readonly number[]) =>
        wrong.filter(({ firstError, i }) => scoresOf(i).findIndex((score) => score < 0.5) === firstError).length /
        wrong.length;
      const [process, outcome] = [found((i) => judged[i]!.stepScores!), found((i) => prefixes.slice(3 * i, 3 * i + 3))];
      gains.push(process - outcome);
    }
    expect(gainOf(gains).low).toBeGreaterThan(0);
  });
});
