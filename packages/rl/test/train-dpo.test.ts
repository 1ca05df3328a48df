import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors } from '@posttrain/core-tensor/io';
import type { CausalLM } from '@posttrain/lm';
import { createAdapter, lora, type PeftAdapter } from '@posttrain/peft';
import { divergence, logProbsOf, predictions, type TrainableAdapter } from '@posttrain/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type DpoOptions,
  dpo,
  type PreferenceLoss,
  type PromptRow,
  policyObjectives,
  preferenceLosses,
  trainPolicy,
  trDpo,
} from '../src/index.js';
import { fractionOfC, prompts, toyModel } from './toy.js';

const rows = ['a', 'b', 'd', 'e', 'f', 'g'].map((letter) => ({
  prompt: `${letter}ab`,
  chosen: 'cc',
  rejected: `${letter}${letter}${letter}`,
}));

const run = async (options: Partial<DpoOptions> = {}) =>
  dpo({ model: await toyModel(3), rows, batchSize: 4, learningRate: 0.01, ...options });

describe('dpo', () => {
  it('comes to prefer what is chosen, beginning with no preference', async () => {
    const { history, dropped } = await run({ epochs: 6, schedule: 'constant' });
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(history.length).toBe(9);
    expect(first.loss).toBeCloseTo(Math.log(2), 5);
    expect(first['rewards/margins']).toBeCloseTo(0, 5);
    expect(last['rewards/accuracies']).toBe(1);
    expect(last['rewards/margins']).toBeGreaterThan(0.2);
    expect(last.loss!).toBeLessThan(first.loss! - 0.1);
    expect(dropped).toBe(0);
  });

  it("logs TRL's names (but not logits/*), and a last step with what is left of the epoch", async () => {
    const { history } = await run();
    expect(history.map(({ metrics }) => metrics.epoch)).toEqual([4 / 6, 1]);
    expect(Object.keys(history[0]!.metrics).sort()).toEqual(
      [
        ...['loss', 'grad_norm', 'learning_rate', 'epoch', 'num_tokens', 'step_time', 'entropy', 'mean_token_accuracy'],
        ...['chosen', 'rejected', 'accuracies', 'margins'].map((name) => `rewards/${name}`),
        ...['logps/chosen', 'logps/rejected'],
      ].sort(),
    );
  });

  it('counts and reports pairs that are cut off whole, and refuses to train on none', async () => {
    const warnings: string[] = [];
    const long = { ...rows[0]!, prompt: 'abcdefg' };
    const { dropped } = await run({
      rows: [...rows, long],
      maxLength: 5,
      onWarning: (message) => warnings.push(message),
    });
    expect(dropped).toBe(1);
    expect(warnings[0]).toMatch(/1 of 7 pairs are left out/);
    await expect(run({ maxLength: 2 })).rejects.toThrow(/none of 6 rows/);
    await expect(run({ beta: 1 } as Partial<DpoOptions>)).rejects.toThrow(/unknown option "beta"/);
  });
});

const quiet = { epochs: 3, schedule: 'constant', onWarning: () => {} } as const;
type History = Awaited<ReturnType<typeof run>>['history'];
const numbersOf = (history: History) => history.map(({ metrics: { step_time: _, ...metrics } }) => metrics);
/** With an adapter, whose policy shares its weights with the reference; or without one. */
const trained = async (withAdapter: boolean) => {
  const model = await toyModel(3);
  const adapter = withAdapter && (await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 3 }));
  return { model, ...(adapter && { adapter }), learningRate: withAdapter ? 0.05 : 0.01 };
};

describe('a loss that reads more of the reference', () => {
  it.each([false, true])('reads it in the pass of the policy, whose adapter is on: %s', async (withAdapter) => {
    /** What a readout of the reference gives is what was computed of it before; and its divergence from itself is 0. */
    const own: PreferenceLoss = {
      ...preferenceLosses.sigmoid(),
      runsReference: true,
      compute(pairs) {
        const { logProbs } = pairs.readReference(predictions()).rejected;
        const { reference, mask } = pairs.rejectedTokens;
        const itself = pairs.readAgainst((teacher) => divergence({ teacher, beta: 1 })).chosen;
        return {
          losses: preferenceLosses.sigmoid().compute(pairs) as never,
          metrics: {
            apart: logProbs.mul(mask).sub(reference).abs().sum(1),
            reverse: itself.mul(pairs.chosenTokens.mask).sum(1),
            entropy_of_both: pairs.read(predictions()).chosen.entropies!.sum(1),
          },
        };
      },
    };
    const { history } = await run({ ...(await trained(withAdapter)), ...quiet, loss: own });
    for (const { metrics } of history) expect(metrics.apart!).toBeLessThan(1e-4);
    expect(Math.abs(history[0]!.metrics.reverse!)).toBeLessThan(1e-5);
    expect(history.at(-1)!.metrics.reverse!).toBeGreaterThan(1e-3);
    const plain = await run({ ...(await trained(withAdapter)), ...quiet });
    plain.history.forEach(({ metrics }, i) => {
      expect(Math.abs(metrics.loss! - history[i]!.metrics.loss!)).toBeLessThan(1e-5);
    });
  });

  it('reads annotations of rows that are tokens, and refuses rows that have none', async () => {
    const readout = logProbsOf({ ids: 'ids', k: 1 });
    const own: PreferenceLoss = {
      ...preferenceLosses.simpo(),
      annotations: readout.annotations!,
      compute(pairs) {
        const given = pairs.read(readout).chosen.squeeze(2);
        const apart = given.sub(pairs.chosenTokens.logProbs).abs().mul(pairs.chosenTokens.mask).sum(1);
        return { losses: preferenceLosses.simpo().compute(pairs) as never, metrics: { apart } };
      },
    };
    const tokens = { promptTokens: [0, 1], chosenTokens: [2, 2, 3], rejectedTokens: [4] };
    const ids = { chosen: { ids: [1, 2, 2, 3] }, rejected: { ids: [1, 4] } };
    const { history } = await run({ ...quiet, epochs: 1, rows: [{ ...tokens, annotations: ids }], loss: own });
    expect(history[0]!.metrics.apart!).toBeLessThan(1e-5);
    await expect(run({ ...quiet, rows: [tokens], loss: own })).rejects.toThrow(/lacks the annotation ids/);
  });

  it('token-DPO begins at log 2 with no divergence, and without a weight for it is DPO, step by step', async () => {
    const { history } = await run({ ...quiet, loss: preferenceLosses.tdpo() });
    const [first, last] = [history[0]!.metrics, history.at(-1)!.metrics];
    expect(first.loss).toBeCloseTo(Math.log(2), 5);
    for (const name of ['kl/chosen', 'kl/rejected']) {
      expect(Math.abs(first[name]!)).toBeLessThan(1e-5);
      expect(last[name]!).toBeGreaterThan(1e-3);
    }
    const [plain, without] = [await run(quiet), await run({ ...quiet, loss: preferenceLosses.tdpo({ alpha: 0 }) })];
    plain.history.forEach(({ metrics }, i) => {
      for (const name of ['loss', 'grad_norm', 'rewards/margins']) {
        expect(Math.abs(metrics[name]! - without.history[i]!.metrics[name]!), `${i} ${name}`).toBeLessThan(1e-4);
      }
    });
  });
});

describe('a reference that moves', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tr-dpo-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each([false, true])('at α = 0 is DPO; with an adapter: %s', async (withAdapter) => {
    const still = trDpo({ refModelMixupAlpha: 0, refModelSyncSteps: 1 });
    const plain = numbersOf((await run({ ...(await trained(withAdapter)), ...quiet })).history);
    const moved = await run({ ...(await trained(withAdapter)), ...quiet, referenceUpdate: still });
    numbersOf(moved.history).forEach((metrics, i) => {
      for (const [name, value] of Object.entries(metrics)) {
        expect(Math.abs(plain[i]![name]! - value), `${i} ${name}`).toBeLessThan(1e-4);
      }
    });
  });

  it('computes in float16 with an adapter as in float32, but for rounding', async () => {
    const options = { ...quiet, loss: preferenceLosses.tdpo(), referenceUpdate: trDpo({ refModelSyncSteps: 2 }) };
    const [whole, half] = [
      await run({ ...(await trained(true)), ...options }),
      await run({ ...(await trained(true)), ...options, fp16: true }),
    ];
    whole.history.forEach(({ metrics }, i) => {
      expect(Math.abs(metrics.loss! - half.history[i]!.metrics.loss!)).toBeLessThan(1e-2);
    });
  });

  it.each([false, true])('at α = 1 in every step is the policy of the step before: %s', async (withAdapter) => {
    const hard = trDpo({ refModelMixupAlpha: 1, refModelSyncSteps: 1 });
    const { history } = await run({
      ...{ ...(await trained(withAdapter)), ...quiet, referenceUpdate: hard },
      ...{ evaluationRows: rows, evaluateEvery: 1, loss: preferenceLosses.tdpo() },
    });
    expect(history.length).toBeGreaterThan(6);
    for (const { metrics } of history) {
      const prefix = 'eval_loss' in metrics ? 'eval_' : '';
      expect(metrics[`${prefix}loss`]!).toBeCloseTo(Math.log(2), 5);
      expect(metrics[`${prefix}kl/rejected`]!).toBeCloseTo(0, 5);
    }
    const [first, last] = [history[0]!, history.findLast(({ metrics }) => 'loss' in metrics)!].map((x) => x.metrics);
    // The policy goes on nevertheless.
    expect(last!['logps/rejected']!).toBeLessThan(first!['logps/rejected']! - 0.1);
  });

  it('is the mean of policies that TR-DPO says, goes on from a checkpoint to the same bytes, and is in it', async () => {
    const [alpha, every] = [0.25, 2];
    const policies: number[][] = [];
    const name = 'model.norm.weight';
    const options = {
      ...{ ...quiet, rows, loss: preferenceLosses.tdpo(), evaluationRows: rows.slice(0, 2), evaluateEvery: 2 },
      ...{ saveSteps: 1, referenceUpdate: trDpo({ refModelMixupAlpha: alpha, refModelSyncSteps: every }) },
    } as const;
    const start = (await toyModel(3)).weights[name]!;
    const straight = await run({
      ...{ ...options, outputFolder: join(folder, 'straight') },
      afterStep: async ({ model }) => void policies.push(await model.weights[name]!.toArray()),
    });
    const expected = policies
      .filter((_, i) => (i + 1) % every === 0)
      .reduce(
        (reference, policy) => reference.map((x, i) => (1 - alpha) * x + alpha * policy[i]!),
        await start.toArray(),
      );
    const files = ['model.safetensors', 'reference/model.safetensors'];
    const bytesOf = async (run: string, file: string) =>
      readFile(join(folder, run, `checkpoint-${straight.trainer.step}`, file));
    const path = join(folder, 'straight', `checkpoint-${straight.trainer.step}`, 'reference/model.safetensors');
    const file = await openSafetensors(path);
    const { data } = await file.read(name);
    await file.close();
    expect(policies.length).toBe(5);
    Array.from(data as Float32Array).forEach((x, i) => void expect(x).toBeCloseTo(expected[i]!, 6));
    expect(Math.max(...policies.at(-1)!.map((x, i) => Math.abs(x - expected[i]!)))).toBeGreaterThan(1e-3);

    const stopped = { ...options, outputFolder: join(folder, 'stopped') };
    // The reference has moved once, and moves again; of the step in which the run dies nothing is saved.
    const dies = ({ step }: { step: number }) => {
      if (step === 2) throw new Error('the machine is gone');
    };
    await expect(run({ ...stopped, afterStep: dies })).rejects.toThrow(/machine is gone/);
    const resumed = await run({ ...stopped, resume: true });
    expect(numbersOf(resumed.history)).toEqual(numbersOf(straight.history));
    for (const one of files) {
      expect((await bytesOf('stopped', one)).equals(await bytesOf('straight', one)), one).toBe(true);
    }
    const other = { ...stopped, resume: true as const, referenceUpdate: trDpo({ refModelMixupAlpha: 0.5 }) };
    await expect(run(other)).rejects.toThrow(/refModelMixupAlpha/);
  });

  it('is refused where none is compared with, or none that the policy’s tensors could become', async () => {
    const { model, adapter } = await trained(true);
    const other = await createAdapter(model, lora, { r: 2, loraAlpha: 99, targetModules: 'all-linear' }, { seed: 4 });
    const options = { model, ...quiet, epochs: 1, referenceUpdate: trDpo() };
    await expect(run({ ...options, loss: preferenceLosses.simpo() })).rejects.toThrow(/the loss simpo has none/);
    await expect(run({ ...options, adapter: adapter!, reference: other })).rejects.toThrow(/another method or other/);
    await expect(run({ ...options, reference: other })).rejects.toThrow(/the policy has none/);
    await expect(run({ ...options, referenceUpdate: trDpo as never })).rejects.toThrow(/Call it/);
    // One of the policy's own kind: training goes on from where it is.
    const same = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 5 });
    await expect(run({ ...options, adapter: adapter!, reference: same })).resolves.toBeDefined();
  });
});

describe('GRPO with PiSSA', () => {
  const grpo = async (reference: 'default' | 'as it was made' | 'of another adapter', steps = 8) => {
    const model = await toyModel(1);
    const adapter = await createAdapter(model, lora, { r: 4, initLoraWeights: 'pissa', targetModules: 'all-linear' });
    const other = await createAdapter(model, lora, { r: 4, initLoraWeights: false, targetModules: 'all-linear' });
    return trainPolicy<PromptRow>({
      model,
      adapter: reference === 'of another adapter' ? { ...adapter, reference: other } : adapter,
      rows: prompts,
      objective: policyObjectives.grpo({ beta: 0.1 }),
      rewards: { fraction_of_c: (text: string) => fractionOfC(text) },
      ...(reference === 'as it was made' && { reference: adapter.reference! }),
      ...{ steps, promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 5, learningRate: 0.01, seed: 1 },
    });
  };

  it.each(['default', 'as it was made'] as const)(
    'has a KL of 0 to the original model at step 0, and leaves it later (reference: %s)',
    async (reference) => {
      const { history } = await grpo(reference);
      expect(Math.abs(history[0]!.metrics.kl!)).toBeLessThan(1e-6);
      expect(history.at(-1)!.metrics.kl!).toBeGreaterThan(1e-4);
    },
  );

  it('is compared with what its adapter says it starts from', async () => {
    const kl = async (...of: Parameters<typeof grpo>) => (await grpo(...of)).history[0]!.metrics.kl!;
    expect(await kl('default', 1)).toBe(await kl('as it was made', 1));
    expect(Math.abs(await kl('of another adapter', 1))).toBeGreaterThan(1e-3);
  });
});

const shifted = ({ parameters }: PeftAdapter) =>
  Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, value.mul(1.1)]));

describe('DPO with PiSSA', () => {
  const rows = ['a', 'b', 'd', 'e'].map((letter) => ({
    prompt: `${letter}ab`,
    chosen: 'cc',
    rejected: letter.repeat(3),
  }));
  const run = (model: CausalLM, adapter: TrainableAdapter) =>
    dpo({ model, adapter, rows, batchSize: 4, epochs: 2, learningRate: 0.01, schedule: 'constant' });

  it('compares with the adapter as it was made: no difference at step 0', async () => {
    const model = await toyModel(3);
    const adapter = await createAdapter(model, lora, { r: 4, initLoraWeights: 'pissa', targetModules: 'all-linear' });
    const { history } = await run(model, adapter);
    expect(Math.abs(history[0]!.metrics['rewards/margins']!)).toBeLessThan(1e-6);
    expect(history[0]!.metrics.loss).toBeCloseTo(Math.log(2), 6);
    expect(Math.abs(history.at(-1)!.metrics['rewards/margins']!)).toBeGreaterThan(1e-3);
    // The base that PiSSA takes its factors out of is another model.
    const moved: TrainableAdapter = { ...adapter, reference: { ...adapter.reference!, parameters: shifted(adapter) } };
    const other = await run(model, moved);
    expect(Math.abs(other.history[0]!.metrics['rewards/chosen']!)).toBeGreaterThan(1e-4);
  });
});
