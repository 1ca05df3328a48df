import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  iota,
  Key,
  leavesOf,
  normal,
  realize,
  scalar,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import { adapterFor, applyLinear, type CausalLM, type LayerHooks, ModelRunner, type RowInputs } from '@posttrain/lm';
import { type AnyPeftMethod, createAdapter, withAdapterParameters } from '../adapters/adapter.js';
import { toFileTensors } from '../adapters/file-tensors.js';
import type { LayerMethod } from '../adapters/layer-method.js';
import { mergeAdapter } from '../adapters/merge.js';
import type { PeftAdapter } from '../adapters/peft-adapter.js';
import type { PeftMethod } from '../adapters/peft-method.js';
import { saveAdapter } from '../adapters/save-adapter.js';
import { loadAdapter } from '../load-adapter.js';
import { TINY_MODEL_TYPES, type TinyModelType, tinyModel } from './tiny-model.js';

/** Options of `testPeftMethod`. */
export interface TestPeftMethodOptions {
  /** Which tiny models to test on: `llama` has no biases, `qwen2` has them and a tied head, `gpt2` stores [in, out]. */
  readonly modelTypes?: readonly TinyModelType[];
  /** Whether the method starts as the identity with this configuration; virtual tokens never do. Default true. */
  readonly identityAtStart?: boolean;
  /** What the method reads of the sequence, beside what it finds in the tokens. Default: nothing. */
  readonly adapterInputs?: RowInputs;
  /** Token ids of rows that its start is made from. Default: none. */
  readonly rows?: readonly (readonly number[])[];
  /** Largest difference of a logit that counts as rounding. Default 1e-4. */
  readonly tolerance?: number;
}

const TOKENS = [[3, 17, 39, 0, 21, 8, 8, 30]];

/**
 * Registers the checks that every PEFT method must pass, with the test function of any framework:
 * `testPeftMethod(it, lora, { r: 4 })`. They run on the current engine.
 */
export function testPeftMethod<Config extends object>(
  it: (name: string, body: () => Promise<void>) => void,
  method: AnyPeftMethod<Config>,
  config: Partial<Config> = {},
  options: TestPeftMethodOptions = {},
): void {
  const { modelTypes = TINY_MODEL_TYPES, identityAtStart = true, tolerance = 1e-4, adapterInputs, rows = [] } = options;
  for (const modelType of modelTypes) {
    const setUp = async () => {
      const model = await tinyModel(modelType);
      const adapter = await createAdapter(model, method, config, { seed: 1, rows });
      return { model, adapter: adapterFor(adapter, TOKENS[0]!, adapterInputs) };
    };
    const check = (name: string, body: (parts: Awaited<ReturnType<typeof setUp>>) => Promise<void>) =>
      it(`${method.peftType} on ${modelType} ${name}`, async () => body(await setUp()));

    if (identityAtStart) {
      check('computes what the base does before training', async ({ model, adapter }) => {
        assert.ok((await difference(model, BASE, model, runOf(adapter))) < tolerance);
      });
    }

    check('has a gradient for every parameter', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const { gradient } = valueAndGrad((parameters: Named) => lossOf(model, runOf(adapter, parameters)))(
        moved.parameters,
      );
      for (const [name, g] of Object.entries(gradient as Named)) {
        const values = await g.toArray();
        assert.ok(values.every(Number.isFinite), `${name}: a gradient is not finite`);
        assert.ok(
          values.some((value) => value !== 0),
          `${name}: no gradient`,
        );
      }
    });

    check('merges into weights that compute the same, or says that it cannot', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      assert.ok((await difference(model, BASE, model, runOf(moved))) > 100 * tolerance, 'the adapter changes nothing');
      if (!moved.method.merge || moved.method.cannotMerge?.(moved.config) !== undefined) {
        await assert.rejects(mergeAdapter(model, moved), /cannot be merged/);
        return;
      }
      const { model: merged, drift } = await mergeAdapter(model, moved);
      assert.ok(drift < tolerance, `merging moved a logit by ${drift}`);
      assert.ok((await difference(merged, BASE, model, runOf(moved))) < tolerance);
    });

    check('is the low-rank updates that it says it is, if it says so', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const updates = moved.lowRank?.(moved.parameters);
      if (!updates) return;
      const hooks: LayerHooks = {
        linear(x, layer) {
          const update = updates[layer.name];
          if (!update) return layer.apply(x);
          const narrow = applyLinear(x, update.a, undefined, false).mul(update.scale);
          return layer.apply(x).add(applyLinear(narrow, update.b, undefined, false));
        },
      };
      assert.ok((await difference(model, { hooks }, model, runOf(moved))) < tolerance);
    });

    check('generates what it computes of whole sequences', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const tokens = TOKENS[0]!;
      const expected = await logitsOf(model, runOf(moved)).toArray();
      const runner = new ModelRunner(model);
      const sequence = runner.start();
      const computed: number[] = [];
      for (const piece of [tokens.slice(0, 3), tokens.slice(3, 4), tokens.slice(4)]) {
        const [result] = await runner.extend([{ sequence, tokens: piece, adapter: moved }], { logits: 'all' });
        for (const row of result!.logits) computed.push(...row);
      }
      const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - computed[i]!)), 0);
      assert.ok(worst < tolerance, `a logit of a step differs by ${worst}: is virtualTokens what the hooks have?`);
    });

    check('reads of a sequence what it says it reads, and needs it', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const { rowInputs, inputs } = moved;
      if (!rowInputs) return;
      assert.deepEqual(
        Object.keys(inputs!).sort(),
        [...rowInputs.names].sort(),
        'rowInputs.of must give all of its names',
      );
      assert.throws(() => logitsOf(model, { hooks: moved.hooks(moved.parameters) }), /ADAPTER_INPUTS|reads/);
    });

    check('says whether it has an earlier pass', async ({ adapter }) => {
      assert.equal(adapter.hooks(adapter.parameters).earlier !== undefined, adapter.earlierPass ?? false);
    });

    check('declares its options, and refuses others', async ({ model, adapter }) => {
      const { options } = adapter.method;
      assert.deepEqual(Object.keys(options.read({})).sort(), Object.keys(adapter.config).sort(), 'all have a default');
      await assert.rejects(
        createAdapter(model, method, { ...config, noSuchOption: 1 }),
        /unknown option "noSuchOption"/,
      );
    });

    check('has a penalty that is finite and an optimizer that updates, if it has them', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const gradients = valueAndGrad((parameters: Named) => {
        const loss = lossOf(model, runOf(adapter, parameters));
        return adapter.penalty ? loss.add(adapter.penalty(parameters)) : loss;
      })(moved.parameters).gradient as Named;
      const optimizer = adapter.optimizer?.(sgd()) ?? sgd();
      const state = optimizer.init(moved.parameters);
      const updated = optimizer.update(moved.parameters, gradients, state, scalar(0.1));
      for (const [name, value] of Object.entries(updated.parameters)) {
        assert.deepEqual(value.shape, moved.parameters[name]!.shape, name);
        assert.ok((await value.toArray()).every(Number.isFinite), `${name}: not finite after an update`);
      }
      const paths = (tree: object) => leavesOf(tree as Parameters<typeof leavesOf>[0]).map(({ path }) => path);
      assert.deepEqual(paths(updated.state), paths(state), 'the state must stay the same tree');
    });

    check('draws at random in training if it says so, and only then', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const runs = [1, 2].map((seed): Run => {
        const hooks = moved.trainingHooks(moved.parameters, Key.fromSeed(seed).toTensor());
        return { hooks, inputs: moved.inputs };
      });
      const changes = (await difference(model, runs[0]!, model, runs[1]!)) > 0;
      assert.equal(changes, moved.stochastic !== undefined, 'stochastic must say whether apply uses the dropout key');
    });

    check('comes back from its files', async ({ model, adapter }) => {
      const moved = await disturbed(adapter);
      const folder = await mkdtemp(join(tmpdir(), 'peft-method-'));
      try {
        await saveAdapter(folder, moved);
        const loaded = await loadAdapter(model, folder, { methods: [method as PeftMethod | LayerMethod] });
        const plain = moved.method.fileConfig?.(moved.config);
        assert.deepEqual(loaded.config, plain ?? moved.config);
        const [again, written] = [storedBy(loaded), storedBy(moved)];
        assert.deepEqual(Object.keys(again).sort(), Object.keys(written).sort());
        for (const [name, value] of Object.entries(written)) {
          const stored = (await value.toArray()).map(Math.fround);
          assert.deepEqual(await again[name]!.toArray(), stored, name);
        }
        // What is another method in files has no use for them.
        if (!plain) assert.deepEqual(Object.keys(loaded.frozen).sort(), Object.keys(moved.frozen).sort());
        const change = await difference(model, { ...runOf(loaded), inputs: moved.inputs }, model, runOf(moved));
        assert.ok(change < tolerance, `what comes back differs by ${change}`);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    check('leaves the base alone', async ({ model, adapter }) => {
      const fresh = await tinyModel(modelType);
      await disturbed(adapter);
      assert.equal(await difference(model, BASE, fresh, BASE), 0);
    });
  }
}

/** What a pass has of an adapter: its hooks, and what it says of the row. */
interface Run {
  readonly hooks: LayerHooks;
  readonly inputs?: RowInputs | undefined;
}

const BASE: Run = { hooks: {} };

const runOf = (
  { hooks, inputs, parameters: own }: Pick<PeftAdapter, 'hooks' | 'inputs' | 'parameters'>,
  parameters: Named = own,
): Run => ({ hooks: hooks(parameters), inputs });

/** What the files of an adapter have. */
const storedBy = ({ method, config, plan, model, parameters: trained, frozen }: PeftAdapter): Named =>
  toFileTensors(method, { config, plan, model }, { trained, frozen });

/** Every parameter moved away from where it starts. */
async function disturbed(adapter: PeftAdapter): Promise<PeftAdapter> {
  const names = Object.keys(adapter.parameters);
  const parameters = mapNamed(adapter.parameters, (p, name) =>
    p.add(normal(Key.fromSeed(2).child(names.indexOf(name)).toTensor(), p.shape).mul(0.1)),
  );
  await realize(Object.values(parameters));
  return withAdapterParameters(adapter, parameters);
}

function hiddenOf(model: CausalLM, { hooks, inputs = {} }: Run): Tensor {
  const shape = [1, TOKENS[0]!.length];
  const ofTokens = Object.entries(inputs).map(([name, value]) => [name, zeros(shape, 'int32').add(value)]);
  const input = {
    ...{ tokens: tensor(TOKENS, shape, 'int32'), positions: iota(shape, 1), segments: zeros(shape, 'int32') },
    rowInputs: Object.fromEntries(ofTokens),
  };
  const hidden = model.network.hidden(model.weights, input, hooks);
  return hidden.reshape([shape[1]!, hidden.shape[2]!]);
}

function lossOf(model: CausalLM, run: Run): Tensor {
  const { hooks } = run;
  const states = hiddenOf(model, run);
  const count = states.shape[0]! - 1;
  const targets = tensor(TOKENS[0]!.slice(1), [count], 'int32');
  const head = model.network.head(model.weights, hooks);
  return tokenLogProbs(states.slice(0, 0, count), head, targets, { softCap: model.network.logitSoftCap })
    .logProbs.mean()
    .neg();
}

/** The largest absolute difference of a logit between two models with their hooks. */
async function difference(a: CausalLM, runA: Run, b: CausalLM, runB: Run): Promise<number> {
  return logitsOf(a, runA).sub(logitsOf(b, runB)).abs().max().item();
}

/** Of every token, [n, vocabulary]. */
const logitsOf = (model: CausalLM, run: Run): Tensor =>
  model.network.logits(model.weights, hiddenOf(model, run), run.hooks);
