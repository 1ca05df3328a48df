import assert from 'node:assert/strict';
import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { CausalLM } from '../model/causal-lm.js';
import type { RunnableModel } from '../model/network.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import { type DecodingMix, innerLayersOf, type LogitsFrom } from '../sampling/decoding-mix.js';
import { logSoftmax } from '../sampling/log-softmax.js';
import { passInput } from '../score/passes.js';
import { assertDistribution, kitModel, kitRow, runRows, tokensOf } from './kit-run.js';

/** Models of the kit, all with one vocabulary. */
export interface KitModels {
  readonly policy: CausalLM;
  readonly others: readonly [CausalLM, CausalLM];
}

/** Options of `testDecodingMix`. */
export interface TestDecodingMixOptions {
  /** Largest difference of a log-probability that counts as rounding. Default 1e-3. */
  readonly tolerance?: number;
}

const VOCABULARY = 5;
const PROMPTS = [[1], [0, 2, 1, 4, 0, 3, 1], [2, 2], [1]];
const SAMPLES = 1000;

/**
 * Registers the checks that every mix of models must pass, with the test function of any framework:
 * `testDecodingMix(it, 'proxyTuning', ({ others: [a, b] }) => proxyTuning({ expert: { model: a }, antiExpert: { model: b } }))`.
 * They run on the current engine.
 *
 * - `combine` is a pure function, and gives numbers that can be drawn from;
 * - tokens have the distribution of what it gives for whole passes without a cache;
 * - `samplingLogProb` is of that distribution, and `logProb` of the policy's own;
 * - a row gets the same in any batch, and rows without the mix get what they get without it.
 */
export function testDecodingMix(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  make: (kit: KitModels) => DecodingMix,
  { tolerance = 1e-3 }: TestDecodingMixOptions = {},
): void {
  const setUp = async () => {
    const [policy, a, b] = await Promise.all([
      kitModel(VOCABULARY, 1),
      kitModel(VOCABULARY, 2),
      kitModel(VOCABULARY, 3),
    ]);
    const kit: KitModels = { policy, others: [a, b] };
    return { policy, mix: make(kit) };
  };
  const check = (what: string, body: (parts: Awaited<ReturnType<typeof setUp>>) => Promise<void>) =>
    it(`${name} ${what}`, async () => body(await setUp()));
  const mixed = (mix: DecodingMix, seed: number, overrides: Partial<DecodeRow> = {}) =>
    kitRow(PROMPTS[seed % PROMPTS.length]!, 10, seed, { temperature: 0.8, mix, ...overrides });

  check('combines without a trace', async ({ policy, mix }) => {
    const { own, others, inner } = await logitsFor(policy, mix, PROMPTS[1]!, []);
    const inputs = [own, ...others, ...inner];
    const before = inputs.map((row) => [...row]);
    const first = [...mix.combine(own, others, inner)];
    assert.deepEqual([...mix.combine(own, others, inner)], first, 'twice the same gives something else');
    assert.deepEqual(
      inputs.map((row) => [...row]),
      before,
      'it has changed what it was given',
    );
    assert.equal(first.length, VOCABULARY, 'one number a token');
    assert.ok(
      first.every((x) => x < Infinity && !Number.isNaN(x)),
      `no number to draw from: ${first}`,
    );
    assert.ok(first.some(Number.isFinite), 'it excludes every token');
  });

  check('draws from what it says, and reports it beside the policy’s own', async ({ policy, mix }) => {
    const rows = PROMPTS.map((_, seed) => mixed(mix, seed, { logProbs: true, samplingLogProbs: true }));
    for (const [i, events] of (await runRows(policy, rows)).entries()) {
      const { prompt, temperature } = rows[i]!;
      const generated: number[] = [];
      for (const { token, logProb, samplingLogProb } of events) {
        const own = await lastLogits({ model: policy }, prompt, generated);
        const wanted = logSoftmax(await mixedLogits(policy, mix, prompt, generated), temperature);
        const where = `row ${i}, token ${generated.length}`;
        assert.ok(Math.abs(samplingLogProb! - wanted[token]!) < tolerance, `${where}: samplingLogProb`);
        assert.ok(Math.abs(logProb! - logSoftmax(own, temperature)[token]!) < tolerance, `${where}: logProb`);
        generated.push(token);
      }
    }
  });

  check('has that distribution', async ({ policy, mix }) => {
    const prompt = PROMPTS[1]!;
    const rows = Array.from({ length: SAMPLES }, (_, seed) => kitRow(prompt, 2, seed, { temperature: 0.8, mix }));
    const counts = new Array<number>(VOCABULARY ** 2).fill(0);
    for (const [first, second] of tokensOf(await runRows(policy, rows, { maxBatch: 256 }))) {
      counts[first! * VOCABULARY + second!]!++;
    }
    const distribution = async (generated: number[]) =>
      [...logSoftmax(await mixedLogits(policy, mix, prompt, generated), 0.8)].map(Math.exp);
    const firsts = await distribution([]);
    const probabilities: number[] = [];
    for (const [token, p] of firsts.entries()) probabilities.push(...(await distribution([token])).map((q) => p * q));
    assertDistribution(counts, probabilities, name);
  });

  check('gives a row the same in any batch, and rows without it what is theirs', async ({ policy, mix }) => {
    const rows = Array.from({ length: 6 }, (_, seed) => {
      const { mix: _mix, ...plain } = mixed(mix, seed);
      return seed % 2 === 0 ? mixed(mix, seed) : plain;
    });
    const together = tokensOf(await runRows(policy, rows));
    const pairs = tokensOf(await runRows(policy, rows, { maxBatch: 2 }));
    assert.deepEqual(pairs, together);
    for (const [i, row] of rows.entries()) assert.deepEqual(tokensOf(await runRows(policy, [row]))[0], together[i]);
  });
}

async function mixedLogits(
  policy: RunnableModel,
  mix: DecodingMix,
  prompt: readonly number[],
  generated: readonly number[],
): Promise<ArrayLike<number>> {
  const { own, others, inner } = await logitsFor(policy, mix, prompt, generated);
  return mix.combine(own, others, inner);
}

/** What a mix is given after the last token, of passes over all of them. */
async function logitsFor(
  policy: RunnableModel,
  mix: DecodingMix,
  prompt: readonly number[],
  generated: readonly number[],
): Promise<{ own: Float32Array; others: Float32Array[]; inner: Float32Array[] }> {
  const [own, ...others] = await Promise.all(
    [{ model: policy }, ...mix.models].map((from) => lastLogits(from, prompt, generated)),
  );
  const { network, weights } = policy;
  const tokens = [...prompt, ...generated];
  const states = network.innerStates(weights, passInput(asBatch(tokens)), innerLayersOf(network, mix));
  const inner = states.map((state) => network.logits(weights, lastState(state)).toArray());
  return { own: own!, others, inner: (await Promise.all(inner)).map((row) => Float32Array.from(row)) };
}

const asBatch = (tokens: readonly number[]): Tensor => tensor(Int32Array.from(tokens), [1, tokens.length]);

/** [1, s, width] → [1, width]. */
function lastState(hidden: Tensor): Tensor {
  const [, s, width] = hidden.shape as [number, number, number];
  return hidden.slice(1, s - 1).reshape([1, width]);
}

/** The logits after the last token, of a pass over all of them. */
async function lastLogits(
  { model, adapter, prompt: own }: LogitsFrom,
  prompt: readonly number[],
  generated: readonly number[],
): Promise<Float32Array> {
  const { network, weights } = model;
  const tokens = [...(own ?? prompt), ...generated];
  const hooks = adapter?.hooks(adapter.parameters) ?? {};
  const hidden = network.hidden(weights, passInput(asBatch(tokens)), hooks);
  return Float32Array.from(await network.logits(weights, lastState(hidden), hooks).toArray());
}
