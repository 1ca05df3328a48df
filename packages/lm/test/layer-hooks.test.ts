import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { iota, referenceEngine, setEngine, stack, type Tensor, tensor, where, zeros } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Adapter,
  adapterFor,
  type CachedSequence,
  continuationLogProbs,
  type EarlyExitOptions,
  type ExtendResult,
  earlyExit,
  exitLayers,
  initialWeights,
  type LayerHooks,
  loadWeights,
  ModelRunner,
  NO_ADAPTER,
  networkOf,
  sequenceLogProbs,
} from '../src/index.js';
import { rowInputsOf } from '../src/model/adapter.js';
import { decodeAll, ENGINES, largestDifference, modelFolder, rowOf, tinyConfig } from './support.js';

beforeAll(() => setEngine(referenceEngine()));

const KINDS: readonly (readonly [name: string, config: Record<string, unknown>])[] = [
  ['llama', {}],
  ['qwen2', { model_type: 'qwen2' }],
  ['mistral', { model_type: 'mistral', sliding_window: 5 }],
  ['gpt2', { model_type: 'gpt2' }],
  [
    'gemma2',
    { model_type: 'gemma2', head_dim: 8, attn_logit_softcapping: 2, final_logit_softcapping: 3, sliding_window: 6 },
  ],
  ['gemma3_text', { model_type: 'gemma3_text', head_dim: 8, sliding_window_pattern: 2, sliding_window: 5 }],
  ['phi3', { model_type: 'phi3' }],
  ['olmo2', { model_type: 'olmo2' }],
];

async function tiny(config: Record<string, unknown>) {
  const network = networkOf(tinyConfig(config));
  return { network, weights: await initialWeights(network, 5) };
}

type Tiny = Awaited<ReturnType<typeof tiny>>;

const grid = (rows: readonly (readonly number[])[]): Tensor =>
  tensor(Int32Array.from(rows.flat()), [rows.length, rows[0]!.length], 'int32');

/** Logits of whole rows, flat. */
function logitsOf(
  { network, weights }: Tiny,
  rows: readonly (readonly number[])[],
  hooks: LayerHooks,
  {
    segments,
    positions,
    inputs,
  }: {
    readonly segments?: readonly (readonly number[])[];
    readonly positions?: readonly (readonly number[])[];
    readonly inputs?: Readonly<Record<string, Tensor>> | undefined;
  } = {},
): Promise<number[]> {
  const tokens = grid(rows);
  const shape = tokens.shape;
  const input = {
    tokens,
    positions: positions ? grid(positions) : iota([...shape], 1),
    segments: segments ? grid(segments) : zeros([...shape], 'int32'),
    ...(inputs && { rowInputs: inputs }),
  };
  const hidden = network.hidden(weights, input, hooks);
  return network.logits(weights, hidden.reshape([tokens.size, hidden.shape[2]!]), hooks).toArray();
}

const PREFIX = [7, 2, 9, 4];
const TOKENS = [3, 1, 4, 1, 5, 9, 2, 6];

async function asVirtualTokens({ network, weights }: Tiny): Promise<Tensor> {
  const virtual = network.asVirtualTokens(weights, tensor(PREFIX, [PREFIX.length], 'int32'));
  return tensor(Float32Array.from(await virtual.toArray()), virtual.shape);
}

interface VirtualParameters {
  readonly virtual: Tensor;
}

const promptAdapter = (virtual: Tensor): Adapter<VirtualParameters> => ({
  name: 'prompt',
  parameters: { virtual },
  virtualTokens: virtual.shape[0]!,
  hooks: (parameters) => ({ virtualTokens: parameters.virtual }),
});

describe.each(KINDS)('%s with virtual tokens', (_, config) => {
  it('computes what it does with these tokens before the others', async () => {
    const model = await tiny(config);
    const virtual = await asVirtualTokens(model);
    const whole = await logitsOf(model, [[...PREFIX, ...TOKENS]], {});
    const expected = whole.slice(PREFIX.length * model.network.config.vocabSize);
    expect(largestDifference(await logitsOf(model, [TOKENS], { virtualTokens: virtual }), expected)).toBeLessThan(1e-9);

    const prefix = model.network.prefix(model.weights, { virtualTokens: virtual })!;
    const hooks: LayerHooks = { prefix: (layer) => prefix[layer]! };
    expect(largestDifference(await logitsOf(model, [TOKENS], hooks), expected)).toBeLessThan(1e-9);
  });

  it('has them before every sequence of a packed row', async () => {
    const model = await tiny(config);
    const hooks = { virtualTokens: await asVirtualTokens(model) };
    const packed = await logitsOf(model, [TOKENS], hooks, {
      segments: [[1, 1, 1, 2, 2, 2, 2, 2]],
      positions: [[0, 1, 2, 0, 1, 2, 3, 4]],
    });
    const apart = [
      ...(await logitsOf(model, [TOKENS.slice(0, 3)], hooks)),
      ...(await logitsOf(model, [TOKENS.slice(3)], hooks)),
    ];
    expect(largestDifference(packed, apart)).toBeLessThan(1e-9);
  });

  it('has those of its kind before every sequence, of a packed row too', async () => {
    const model = await tiny(config);
    const one = await asVirtualTokens(model);
    const hooks: LayerHooks = { virtualTokens: { kinds: stack([one, one.mul(-2)]), kindOf: 'kind' } };
    const packed = await logitsOf(model, [TOKENS], hooks, {
      segments: [[1, 1, 1, 2, 2, 2, 2, 2]],
      positions: [[0, 1, 2, 0, 1, 2, 3, 4]],
      inputs: { kind: grid([[1, 1, 1, 0, 0, 0, 0, 0]]) },
    });
    const apart = [
      ...(await logitsOf(model, [TOKENS.slice(0, 3)], { virtualTokens: one.mul(-2) })),
      ...(await logitsOf(model, [TOKENS.slice(3)], { virtualTokens: one })),
    ];
    expect(largestDifference(packed, apart)).toBeLessThan(1e-9);
    expect(() => logitsOf(model, [TOKENS], hooks)).toThrow(/depend on kind, which the adapter reads of every sequence/);
  });

  it.each(ENGINES)('generates what it does with these tokens before the prompt, on %s', async (_, engine) => {
    await onEngine(engine(), async () => {
      const model = await tiny(config);
      const adapter = promptAdapter(await asVirtualTokens(model));
      const prompts = [
        [3, 1, 4],
        [5, 9, 2, 6, 5],
        [3, 1, 4],
      ];
      const plain = await decodeAll(
        model,
        prompts.map((prompt) => rowOf([...PREFIX, ...prompt], 20)),
      );
      const behind = await decodeAll(
        model,
        prompts.map((prompt) => rowOf(prompt, 20, { adapter })),
      );
      expect(behind.tokens).toEqual(plain.tokens);
      for (const [i, logProbs] of behind.logProbs.entries()) {
        expect(largestDifference(logProbs, plain.logProbs[i]!)).toBeLessThan(1e-4);
      }
    });
  });
});

describe('virtual tokens in a runner', () => {
  const CONFIG = { model_type: 'llama' };
  const promptFor = async (model: Tiny) => promptAdapter(await asVirtualTokens(model));

  it('are computed once and forked, also for rows that come later, and share a pass with other adapters', async () => {
    const model = await tiny(CONFIG);
    const adapter = await promptFor(model);
    const runner = new ModelRunner(model);
    const rows = [[3, 1], [4, 1, 5], [9]];
    const first = await runner.extend(
      rows.map((tokens, i) => ({ sequence: runner.start(tokens, adapter), tokens, ...(i < 2 ? { adapter } : {}) })),
    );
    const expected = await Promise.all([
      ...rows.slice(0, 2).map((tokens) => logitsOf(model, [tokens], adapter.hooks(adapter.parameters))),
      logitsOf(model, [rows[2]!], {}),
    ]);
    const vocabulary = model.network.config.vocabSize;
    first.forEach(({ logits }, i) => {
      expect(largestDifference(logits[0]!, expected[i]!.slice(-vocabulary))).toBeLessThan(1e-5);
    });
    // A free block only for what is new: the prefix of 4 tokens is in a block that is copied on write.
    const before = runner.freeTokens;
    const late = runner.start([8], adapter);
    await runner.extend([{ sequence: late, tokens: [8], adapter }]);
    expect(before - runner.freeTokens).toBe(16);
    expect(late.tokens).toEqual([8]);
    runner.truncate(late, 0);
    const [again] = await runner.extend([{ sequence: late, tokens: rows[0]!, adapter }]);
    expect(largestDifference(again!.logits[0]!, expected[0]!.slice(-vocabulary))).toBeLessThan(1e-5);
  });

  it('of several kinds are computed once a kind, and rows of all kinds share a pass', async () => {
    const model = await tiny(CONFIG);
    const one = await asVirtualTokens(model);
    const adapter: Adapter<VirtualParameters> = {
      ...promptAdapter(one),
      rowInputs: { names: ['kind'], of: (_, { kind }) => ({ kind: kind! }) },
      hooks: ({ virtual }) => ({ virtualTokens: { kinds: stack([virtual, virtual.mul(-2)]), kindOf: 'kind' } }),
    };
    const runner = new ModelRunner(model);
    const kinds = [0, 1, 1, 0];
    const rows = kinds.map((kind, i) => {
      const tokens = TOKENS.slice(i, i + 3);
      return { sequence: runner.start(), tokens, adapter: adapterFor(adapter, tokens, { kind }) };
    });
    const results = await runner.extend(rows);
    const vocabulary = model.network.config.vocabSize;
    for (const [i, { tokens }] of rows.entries()) {
      const hooks = { virtualTokens: kinds[i] === 0 ? one : one.mul(-2) };
      const expected = await logitsOf(model, [tokens], hooks);
      expect(largestDifference(results[i]!.logits[0]!, expected.slice(-vocabulary))).toBeLessThan(1e-5);
    }
    // A block for what is new in each row: both prefixes are there.
    const before = runner.freeTokens;
    const late = [1, 0].map((kind) => {
      return { sequence: runner.start(), tokens: [8], adapter: adapterFor(adapter, [8], { kind }) };
    });
    await runner.extend(late);
    expect(before - runner.freeTokens).toBe(2 * 16);
  });

  it('count in the context: for prompts, scores and sequences', async () => {
    const model = await tiny({ ...CONFIG, max_position_embeddings: 16 });
    const adapter = await promptFor(model);
    const { finishes, tokens } = await decodeAll(model, [rowOf([1, 2, 3], 100, { adapter })]);
    expect([finishes[0], tokens[0]!.length]).toEqual(['length', 16 - 4 - 3]);
    const runner = new ModelRunner(model);
    const long = TOKENS.concat(TOKENS).slice(0, 13);
    await expect(runner.extend([{ sequence: runner.start(), tokens: long, adapter }])).rejects.toThrow(
      /a sequence of 13 tokens; the context holds 12/,
    );
    await expect(sequenceLogProbs(model, [[...long, 1]], { adapter })).rejects.toThrow(/it needs 2 to 13/);
  });

  it('must be as many as the adapter says', async () => {
    const model = await tiny(CONFIG);
    const adapter = await promptFor(model);
    const runner = new ModelRunner(model);
    const wrong = { ...adapter, virtualTokens: 3 };
    await expect(runner.extend([{ sequence: runner.start(), tokens: [1], adapter: wrong }])).rejects.toThrow(
      /virtualTokens is 3, but its hooks have 4/,
    );
  });

  it('are there when continuations are scored', async () => {
    const model = await tiny(CONFIG);
    const adapter = await promptFor(model);
    const question = [3, 1, 4, 1];
    const asked = [
      [5, 9],
      [2, 6],
    ].map((end) => ({ tokens: [...question, ...end], start: 4 }));
    const scored = await continuationLogProbs(model, asked, { adapter });
    const whole = await sequenceLogProbs(
      model,
      asked.map(({ tokens }) => [...PREFIX, ...tokens]),
    );
    scored.forEach(({ logProbs }, i) => {
      expect(largestDifference(logProbs, whole[i]!.logProbs.slice(-2))).toBeLessThan(1e-5);
    });
  });
});

describe('norm and sublayer hooks', () => {
  it.each(KINDS)('of %s that change nothing are every norm and every sublayer', async (_, config) => {
    const model = await tiny(config);
    const [norms, sublayers]: [Set<string>, string[]] = [new Set(), []];
    const hooks: LayerHooks = {
      norm(x, layer) {
        norms.add(layer.name);
        return layer.apply(x, { weight: layer.weight, bias: layer.bias });
      },
      sublayer(output, { layer, part }) {
        sublayers.push(`${layer} ${part}`);
        return output;
      },
    };
    expect(await logitsOf(model, [TOKENS], hooks)).toEqual(await logitsOf(model, [TOKENS], {}));
    expect([...norms].sort()).toEqual([...model.network.norms.keys()].sort());
    expect(sublayers).toEqual(['0 attention', '0 mlp', '1 attention', '1 mlp']);
  });

  it('of one adapter reach its own rows of a pass only', async () => {
    const model = await tiny({});
    const adapter: Adapter<{ readonly factor: Tensor }> = {
      name: 'both',
      parameters: { factor: tensor([1.5], [1]) },
      hooks: ({ factor }) => ({
        norm: (x, layer) => layer.apply(x, { weight: layer.weight.mul(factor) }),
        sublayer: (output, { input }) => output.add(input.mul(factor)),
      }),
    };
    const rows = [
      [3, 1, 4],
      [1, 5],
      [9, 2, 6],
    ];
    const of = [adapter, NO_ADAPTER, adapter];
    const runner = new ModelRunner(model);
    const results = await runner.extend(
      rows.map((tokens, i) => ({ sequence: runner.start(), tokens, adapter: of[i]! as Adapter })),
    );
    const vocabulary = model.network.config.vocabSize;
    for (const [i, { logits }] of results.entries()) {
      const own = of[i] === adapter ? adapter.hooks(adapter.parameters) : {};
      const expected = await logitsOf(model, [rows[i]!], own);
      expect(largestDifference(logits[0]!, expected.slice(-vocabulary))).toBeLessThan(1e-5);
    }
  });
});

describe('an earlier pass', () => {
  const routed: Adapter<{ readonly gate: Tensor }> = {
    name: 'routed',
    parameters: { gate: tensor([0.3, -0.2], [2]) },
    hooks: ({ gate }) => ({
      earlier: {
        hooks: { sublayer: (output) => output.mul(gate.slice(0, 0, 1)) },
        hooksAfter: (hidden) => ({ sublayer: (output) => output.add(hidden.mul(gate.slice(0, 1))) }),
      },
    }),
  };

  it('says what the hooks of a pass are, token by token', async () => {
    const { network, weights } = await tiny({});
    const shape = [1, TOKENS.length];
    const input = { tokens: grid([TOKENS]), positions: iota(shape, 1), segments: zeros(shape, 'int32') };
    const { earlier } = routed.hooks(routed.parameters);
    const seen = network.hidden(weights, input, earlier!.hooks);
    const expected = await network.hidden(weights, input, earlier!.hooksAfter(seen)).toArray();
    const hooks = routed.hooks(routed.parameters);
    expect(await network.hidden(weights, input, hooks).toArray()).toEqual(expected);
    expect(largestDifference(expected, await network.hidden(weights, input).toArray())).toBeGreaterThan(0.1);
  });

  it('is generated with as it is computed of whole sequences, its cache grown, forked and in copies', async () => {
    const model = await tiny({});
    const twice = { ...routed, earlierPass: true };
    const halved: Adapter = {
      name: 'halved',
      parameters: {},
      hooks: () => ({ sublayer: (output) => output.mul(0.5) }),
    };
    const adapters = [twice, NO_ADAPTER, twice, halved];
    const prompts = [TOKENS, [2, 7, 1], [...TOKENS, ...PREFIX, ...TOKENS], TOKENS];
    const runner = new ModelRunner(model, { cacheTokens: 256 });
    const rows = adapters.map((adapter, i) => ({ adapter, prompt: prompts[i]!, sequence: runner.start([], adapter) }));
    await expectSteps(model, runner, rows, [[8], [1], [3, 3], [9]]);
    const forks = rows.map((row) => ({
      ...row,
      sequence: runner.fork(row.sequence, 3),
      prompt: row.prompt.slice(0, 3),
    }));
    await expectSteps(model, runner, forks, [[6], [5], [1]]);
    // A later request finds what is there.
    for (const { sequence } of [...rows, ...forks]) runner.release(sequence);
    const again = runner.start([...TOKENS, 7], twice);
    expect(again.length).toBe(TOKENS.length);
    await expectSteps(model, runner, [{ adapter: twice, prompt: TOKENS, sequence: again }], [[7], [7]]);
  });

  it.each([
    ['alone', [routed]],
    ['beside other adapters', [routed, NO_ADAPTER]],
  ])('is refused by generation where the adapter does not say that it has one, %s', async (_, adapters) => {
    const runner = new ModelRunner(await tiny({}));
    const rows = adapters.map((adapter) => ({ sequence: runner.start(), tokens: [1, 2], adapter: adapter as Adapter }));
    await expect(runner.extend(rows)).rejects.toThrow(/for an adapter that says earlierPass/);
  });
});

interface Row {
  readonly adapter: Adapter;
  readonly sequence: CachedSequence;
  /** With what the sequence has already. */
  readonly prompt: readonly number[];
}

/** Extends rows by the rest of their prompts, then by the tokens of `steps`, and compares with whole sequences. */
async function expectSteps(model: Tiny, runner: ModelRunner, rows: readonly Row[], steps: readonly number[][]) {
  const vocabulary = model.network.config.vocabSize;
  const seen = rows.map(({ sequence }) => [...sequence.tokens]);
  const pieces = [
    rows.map(({ prompt, sequence }) => prompt.slice(sequence.length)),
    ...steps.map((step) => rows.map(() => step)),
  ];
  for (const piece of pieces) {
    const live = rows.map((_, i) => i).filter((i) => piece[i]!.length > 0);
    if (live.length === 0) continue;
    const results = await runner.extend(live.map((i) => ({ ...rows[i]!, tokens: piece[i]! })));
    for (const [at, i] of live.entries()) {
      seen[i]!.push(...piece[i]!);
      const { adapter } = rows[i]!;
      const inputs = rowInputsOf(adapter, [seen[i]!], [1, seen[i]!.length], [adapter.inputs ?? {}]);
      const expected = await logitsOf(model, [seen[i]!], adapter.hooks(adapter.parameters), { inputs });
      expect(largestDifference([...results[at]!.logits[0]!], expected.slice(-vocabulary))).toBeLessThan(1e-6);
    }
  }
}

describe('row inputs', () => {
  /** From a token 9 on, layers have gates[task] of what they add. */
  const gated: Adapter<{ readonly gates: Tensor }> = {
    name: 'gated',
    parameters: { gates: tensor([0.5, 2, -1], [3]) },
    rowInputs: {
      names: ['task', 'start'],
      of: (tokens, { task = 0, start = tokens.indexOf(9) }) => ({ task, start: start < 0 ? 1000 : start }),
      untouched: ({ start }) => start!,
    },
    hooks: ({ gates }) => ({
      sublayer(output, { pass }) {
        const { positions, inputs } = pass!;
        const gate = gates.gather(inputs.task!).expandDims(2);
        return where(positions.greaterEqual(inputs.start!).expandDims(2), output.mul(gate), output);
      },
    }),
  };
  const about = (tokens: readonly number[], task?: number) =>
    adapterFor(gated, tokens, task === undefined ? {} : { task });

  it('differ from row to row of one pass, beside other adapters, and from sequence to sequence of a packed row', async () => {
    const model = await tiny({});
    const runner = new ModelRunner(model);
    const halved: Adapter = {
      name: 'halved',
      parameters: {},
      hooks: () => ({ sublayer: (output) => output.mul(0.5) }),
    };
    const adapters = [about(TOKENS, 1), about(TOKENS, 2), halved, about([1, 2]), NO_ADAPTER];
    const rows = adapters.map((adapter) => ({ adapter, prompt: TOKENS, sequence: runner.start([], adapter) }));
    await expectSteps(model, runner, rows, [[8], [1], [3, 3], [9]]);

    const inputs = { task: grid([[1, 1, 1, 1, 2, 2, 2, 2]]), start: grid([[0, 0, 0, 0, 1, 1, 1, 1]]) };
    const layout = { segments: [[1, 1, 1, 1, 2, 2, 2, 2]], positions: [[0, 1, 2, 3, 0, 1, 2, 3]] };
    const packed = await logitsOf(model, [TOKENS], gated.hooks(gated.parameters), { ...layout, inputs });
    const apart = [1, 2].map((task) => {
      const own = { task: grid([[task, task, task, task]]), start: grid([[task - 1, task - 1, task - 1, task - 1]]) };
      return logitsOf(model, [TOKENS.slice(4 * task - 4, 4 * task)], gated.hooks(gated.parameters), { inputs: own });
    });
    expect(largestDifference(packed, (await Promise.all(apart)).flat())).toBeLessThan(1e-9);
  });

  it('reuse what the base has computed where the adapter has not begun, and nothing of another task', async () => {
    const model = await tiny({});
    const runner = new ModelRunner(model);
    const prompt = [3, 1, 4, 1, 5, 9, 2];
    const base = { adapter: NO_ADAPTER as Adapter, prompt: TOKENS, sequence: runner.start([]) };
    await expectSteps(model, runner, [base], []);
    const shared = runner.start(prompt, about(prompt, 1));
    expect(shared.length).toBe(5);
    await expectSteps(model, runner, [{ adapter: about(prompt, 1), prompt, sequence: shared }], [[8]]);
    expect(runner.start(prompt, about(prompt, 1)).length).toBe(6);
    expect(runner.start(prompt, about(prompt, 2)).length).toBe(5);
  });

  it('are read by scoring, and refused by name where they cannot be', async () => {
    const model = await tiny({});
    const options = { adapter: gated, adapterInputs: [{ task: 1 }, { task: 2 }] };
    const [one, two] = await sequenceLogProbs(model, [TOKENS, TOKENS], options);
    expect(largestDifference([...one!.logProbs.slice(0, 4)], [...two!.logProbs.slice(0, 4)])).toBeLessThan(1e-9);
    expect(largestDifference([...one!.logProbs], [...two!.logProbs])).toBeGreaterThan(1e-2);
    const ends = await continuationLogProbs(
      model,
      [TOKENS, TOKENS].map((tokens) => ({ tokens, start: 6 })),
      options,
    );
    expect([...ends[1]!.logProbs]).toEqual([...two!.logProbs.slice(5)]);
    expect(() => adapterFor(gated, TOKENS, { tasks: 1 })).toThrow(/no input "tasks": it reads task, start/);
    expect(() => adapterFor(gated, TOKENS, { task: 0.5 })).toThrow(/task is 0.5, no int32/);
    const runner = new ModelRunner(model);
    await expect(runner.extend([{ sequence: runner.start(), tokens: [1], adapter: gated }])).rejects.toThrow(
      /lacks task/,
    );
  });
});

/** A digest of the graph of a tensor: its operations in order, with what they take and the shapes they give. */
function digestOf(tensor: Tensor): string {
  const numbers = new Map<unknown, number>();
  const lines: string[] = [];
  const visit = ({ node, index }: Tensor['value']): string => {
    if (!numbers.has(node)) {
      const inputs = node.inputs.map(visit);
      numbers.set(node, numbers.size);
      lines.push(`${node.scope} ${node.op}(${inputs})${node.outputs.map(({ shape, dtype }) => `${dtype}[${shape}]`)}`);
    }
    return `${numbers.get(node)}.${index}`;
  };
  visit(tensor.value);
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 12);
}

describe('the graph', () => {
  it.each(KINDS)('of %s is the same without hooks and with hooks that change nothing', async (_, config) => {
    const { network, weights } = await tiny(config);
    const tokens = grid([TOKENS]);
    const input = { tokens, positions: iota([1, TOKENS.length], 1), segments: zeros([1, TOKENS.length], 'int32') };
    const paged = { tokens, lengths: tensor([3], [1], 'int32'), cache: network.newCache(1, 32) };
    const digests = (hooks?: LayerHooks) => [
      digestOf(network.hidden(weights, input, hooks)),
      digestOf(network.extend(weights, paged, hooks).hidden),
    ];
    const hooks: LayerHooks = { norm: (x, layer) => layer.apply(x), sublayer: (output) => output };
    expect(digests(hooks)).toEqual(digests());
    // The prefix is in the cache: a step computes nothing of it.
    expect(digests({ virtualTokens: zeros([2, network.config.hiddenSize]) })[1]).toEqual(digests()[1]);
  });
});

describe('early exit', () => {
  const golden: {
    readonly prompt: number[];
    readonly text: number[];
    readonly cases: ({ readonly layers: number[]; readonly logits: number[][] } & Required<EarlyExitOptions>)[];
  } = JSON.parse(readFileSync(join(import.meta.dirname, '../../../goldens/early-exit/expected.json'), 'utf8'));

  /** Logits after each token of a text behind a prompt, which is decoded token by token. */
  async function decoded(model: Tiny, adapter: Adapter, prompt: readonly number[], text: readonly number[]) {
    const runner = new ModelRunner(model);
    const own = adapterFor(adapter, prompt);
    const sequence = runner.start(prompt, own);
    await runner.extend([{ sequence, tokens: prompt.slice(sequence.length), adapter: own }]);
    const rows: number[][] = [];
    for (const token of text) {
      const [{ logits }] = (await runner.extend([{ sequence, tokens: [token], adapter: own }])) as [ExtendResult];
      rows.push([...logits[0]!]);
    }
    runner.release(sequence);
    return rows;
  }

  it('has the logits and the layers of a Llama of transformers, whose exited tokens leave keys and values only', async () => {
    const { config, weights } = await loadWeights(modelFolder('llama'));
    const model = { network: networkOf(config), weights };
    const { prompt, text, cases } = golden;
    expect(new Set(cases.flatMap(({ layers }) => layers))).toEqual(new Set([1, 2]));
    for (const { layers, logits, ...options } of cases) {
      const exit = earlyExit(model, options);
      const rows = await decoded(model, exit, prompt, text);
      rows.forEach((row, i) => {
        expect(largestDifference(row.slice(0, 8), logits[i]!)).toBeLessThan(1e-5);
      });
      const [counted] = await exitLayers(model, exit, [{ tokens: [...prompt, ...text], promptTokens: prompt.length }]);
      expect([...counted!]).toEqual([...prompt.map(() => 2), ...layers]);
    }
  });

  it.each(KINDS)('of %s never: the model, bit for bit; at once: the model of its first layer', async (name, config) => {
    const model = await tiny(config);
    const [prompt, text] = [TOKENS.slice(0, 5), TOKENS.slice(5)];
    const full = await decoded(model, NO_ADAPTER, prompt, text);
    for (const confidence of name === 'llama' ? (['softmax', 'state'] as const) : (['softmax'] as const)) {
      expect(await decoded(model, earlyExit(model, { threshold: 1, confidence }), prompt, text)).toEqual(full);
    }
    const shallow = { ...model, network: networkOf(tinyConfig({ ...config, num_hidden_layers: 1, n_layer: 1 })) };
    const first = await decoded(shallow, NO_ADAPTER, prompt, text);
    const at = await decoded(model, earlyExit(model, { threshold: 0 }), prompt, text);
    expect(largestDifference(at.flat(), first.flat())).toBeLessThan(1e-9);
    expect(largestDifference(at.flat(), full.flat())).toBeGreaterThan(1e-3);
    expect(() => earlyExit(model, { minLayers: 3 })).toThrow(/minLayers is 3, and the model has 2 layers/);
  });
});
