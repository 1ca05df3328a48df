import { join } from 'node:path';
import { concat, type Tensor, tensor, where } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { assertArgument, PosttrainError } from '@posttrain/interfaces';
import {
  type Adapter,
  applyLinear,
  type EmbeddingLayer,
  type LayerHooks,
  type LinearLayer,
  type RowInputs,
} from '@posttrain/lm';
import { withAdapterParameters } from './adapter.js';
import { assertAdapter } from './arguments.js';
import { AdapterConfigError } from './errors.js';
import type { PeftAdapter } from './peft-adapter.js';
import { inputOf } from './row-inputs.js';
import { trainsCopies } from './whole-modules.js';

/** Which adapter a sequence is for: its place in the stack. */
const ADAPTER = 'adapter';

/** Several adapters of one model as one that is trained: every sequence says which is its own. */
export interface StackedAdapter extends Adapter<Named> {
  /** Names of the adapters, in the order that sequences count them in. */
  readonly names: readonly string[];
  readonly identity: object;
  readonly stochastic: undefined;
  trainingHooks(parameters: Named): LayerHooks;
  /** Whether a parameter of the stack is the adapter's. */
  owns(name: string, parameter: string): boolean;
  /** One of them, with its parameters out of the stack's. */
  adapterOf(name: string, parameters?: Named): PeftAdapter;
  /** Writes each into a folder of its name. */
  save(folder: string, parameters: Named): Promise<void>;
}

/**
 * Multi-LoRA: adapters over one frozen base in mixed batches. A sequence is its own adapter's, which it names as
 * `adapterInputs: { adapter: 1 }`, so that the others get no gradient of it and each is trained as it would be alone. What the
 * base computes is computed once for all; low-rank updates of all adapters share two products a layer, of which every
 * sequence keeps its own columns (S-LoRA, arXiv 2311.03285; Punica, arXiv 2310.18547).
 *
 * Adapters of any method that enters linear layers and embeddings only, each under its `name`.
 *
 * @throws AdapterConfigError for an adapter that draws at random or does more than that, that is of another model, or whose
 *   name is taken
 */
export function stackAdapters(adapters: readonly PeftAdapter[]): StackedAdapter {
  const isList = Array.isArray(adapters) && adapters.length > 0;
  assertArgument('stackAdapters', 'adapters', adapters, isList, 'a list of adapters');
  const names: string[] = [];
  for (const adapter of adapters) {
    assertAdapter('stackAdapters', adapter);
    checkStackable(adapter, adapters[0]!);
    if (names.includes(adapter.name)) {
      throw new AdapterConfigError(`two adapters are called "${adapter.name}": give createAdapter each a name`);
    }
    names.push(adapter.name);
  }
  const owns = (name: string, parameter: string) => parameter.startsWith(`${name}/`);
  const own = (name: string, parameters: Named): Named =>
    Object.fromEntries(
      Object.entries(parameters).flatMap(([key, value]) =>
        owns(name, key) ? [[key.slice(name.length + 1), value]] : [],
      ),
    );
  const parameters: Named = Object.fromEntries(
    adapters.flatMap(({ name, parameters: trained }) =>
      Object.entries(trained).map(([key, value]) => [`${name}/${key}`, value] as const),
    ),
  );
  const hooks = (trained: Named) =>
    stackedHooks(
      adapters,
      adapters.map(({ name }) => own(name, trained)),
    );
  const stack: StackedAdapter = {
    ...{ name: names.join('+'), names, parameters, hooks, owns, stochastic: undefined },
    rowInputs: { names: [ADAPTER], of: (_, given) => ({ [ADAPTER]: placeIn(names, given) }) },
    identity: { peftType: 'STACK', adapters: adapters.map(({ name, identity }) => ({ name, identity })) },
    trainingHooks: (trained) => hooks(trained),
    adapterOf(name, trained = parameters) {
      const found = adapters.find((adapter) => adapter.name === name);
      if (!found) throw new AdapterConfigError(`there is no adapter "${name}" in the stack of ${names.join(', ')}`);
      return withAdapterParameters(found, own(name, trained));
    },
    async save(folder, trained) {
      for (const { name, save } of adapters) await save(join(folder, name), own(name, trained));
    },
  };
  return stack;
}

function placeIn(names: readonly string[], { [ADAPTER]: place }: RowInputs): number {
  if (place !== undefined && place >= 0 && place < names.length) return place;
  const problem = place === undefined ? 'is missing' : `is ${place}`;
  const those = names.map((name, i) => `${i} (${name})`).join(', ');
  throw new PosttrainError('ADAPTER_INPUTS', `${ADAPTER} ${problem}: every sequence names its adapter, ${those}`);
}

function checkStackable(adapter: PeftAdapter, first: PeftAdapter): void {
  const { name, plan, stochastic, rowInputs, virtualTokens, earlierPass } = adapter;
  const isElsewhere =
    plan.norms.length > 0 || plan.targets.some(({ kind }) => kind !== 'linear' && kind !== 'embedding');
  const problem =
    adapter.model !== first.model
      ? `is of another model than "${first.name}"`
      : stochastic !== undefined
        ? `draws at random (${stochastic}), which it would do otherwise in a batch of its own`
        : rowInputs || virtualTokens !== undefined || earlierPass
          ? 'reads or adds something of its own at every sequence'
          : adapter.penalty || adapter.optimizer
            ? 'has a penalty or an optimizer of its own'
            : trainsCopies(plan)
              ? 'trains modules or biases whole'
              : isElsewhere || plan.fused || plan.tied || plan.targets.length === 0
                ? 'does not only enter linear layers and embeddings'
                : /[/\\]/.test(name) || name === '' || /^\.+$/.test(name)
                  ? 'has a name that is no name of a folder'
                  : undefined;
  if (problem !== undefined) throw new AdapterConfigError(`the adapter "${name}" cannot be stacked: it ${problem}`);
}

/** All low-rank updates of a layer as one. */
interface Stacked {
  /** A [R, in] and B [out, R], scaled. */
  readonly a: Tensor;
  readonly b: Tensor;
  /** int32 [R]: whose each column is. */
  readonly owners: Tensor;
}

function stackedHooks(adapters: readonly PeftAdapter[], parameters: readonly Named[]): LayerHooks {
  const parts = new Map<string, { readonly a: Tensor; readonly b: Tensor; readonly owner: number }[]>();
  const others: { readonly index: number; readonly hooks: LayerHooks }[] = [];
  adapters.forEach((adapter, index) => {
    const updates = adapter.lowRank?.(parameters[index]!);
    if (!updates) others.push({ index, hooks: adapter.hooks(parameters[index]!) });
    for (const [module, { a, b, scale }] of Object.entries(updates ?? {})) {
      parts.set(module, [...(parts.get(module) ?? []), { a: a.mul(scale), b, owner: index }]);
    }
  });
  const stacks = new Map([...parts].map(([module, all]) => [module, stackOf(all)]));
  const chosen = (place: Tensor, base: Tensor, of: (hooks: LayerHooks) => Tensor | undefined): Tensor => {
    return others.reduce((all, { index, hooks }) => {
      const changed = of(hooks);
      return changed && changed !== base ? where(place.equal(index).expandDims(2), changed, all) : all;
    }, base);
  };
  return {
    linear(x: Tensor, layer: LinearLayer) {
      const stack = stacks.get(layer.name);
      if (!stack && others.length === 0) return layer.apply(x);
      const { value: place } = inputOf(layer, ADAPTER);
      const base = layer.apply(x);
      // The base's own result for who asks for it, so that it is computed once.
      const once = { ...layer, apply: (input: Tensor) => (input === x ? base : layer.apply(input)) };
      const all = chosen(place, base, (hooks) => hooks.linear?.(x, once));
      if (!stack) return all;
      const isOwn = place.expandDims(2).equal(stack.owners.reshape([1, 1, stack.owners.size]));
      const narrow = where(isOwn, applyLinear(x, stack.a, undefined, false), 0);
      return all.add(applyLinear(narrow, stack.b, undefined, false));
    },
    embedding(tokens: Tensor, layer: EmbeddingLayer) {
      const base = layer.apply(tokens);
      if (others.length === 0) return base;
      const { value: place } = inputOf(layer, ADAPTER);
      const once = { ...layer, apply: (given: Tensor) => (given === tokens ? base : layer.apply(given)) };
      return chosen(place, base, (hooks) => hooks.embedding?.(tokens, once));
    },
  };
}

function stackOf(parts: readonly { readonly a: Tensor; readonly b: Tensor; readonly owner: number }[]): Stacked {
  const owners = parts.flatMap(({ a, owner }) => new Array<number>(a.shape[0]!).fill(owner));
  return {
    a: concat(
      parts.map(({ a }) => a),
      0,
    ),
    b: concat(
      parts.map(({ b }) => b),
      1,
    ),
    owners: tensor(Int32Array.from(owners), [owners.length], 'int32'),
  };
}
