import type { Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import {
  applyLinear,
  type EmbeddingLayer,
  type LayerHooks,
  type LinearLayer,
  type NormInfo,
  type NormLayer,
} from '@posttrain/lm';
import { copiedTensors } from './adapter-target.js';
import type { AdaptableModel, AdapterPlan } from './peft-adapter.js';
import { mergedTokenRows, tokenRowsOf, withTokenRows } from './trainable-tokens.js';

/** Whether anything is trained as a copy, beside what the method itself trains. */
export const trainsCopies = ({ saved, savedNorms = [], tokens = [], biases }: AdapterPlan): boolean =>
  saved.length + savedNorms.length + tokens.length + biases.size > 0;

/** Names of the tensors that are trained as copies. */
export const namesOfCopies = ({ saved, savedNorms = [], tokens = [], biases }: AdapterPlan): readonly string[] => [
  ...biases.values(),
  ...[...saved, ...savedNorms].flatMap(({ name }) => [`${name}.weight`, `${name}.bias`]),
  ...tokens.map(({ name }) => name),
];

/** The copies as they start, which are the model's own tensors. */
export const initialCopies = (model: AdaptableModel, plan: AdapterPlan): Named => ({
  ...Object.fromEntries([...plan.biases].map(([module, name]) => [name, model.weights[`${module}.bias`]!])),
  ...Object.assign({}, ...plan.saved.map((module) => copiedTensors(model, module))),
  ...Object.fromEntries((plan.savedNorms ?? []).flatMap(tensorsOfNorm).map((name) => [name, model.weights[name]!])),
  ...tokenRowsOf(model, plan.tokens ?? []),
});

/** The weights of the model that they replace. */
export const mergedCopies = (model: AdaptableModel, plan: AdapterPlan, parameters: Named): Named => ({
  ...Object.fromEntries([...plan.biases].map(([module, name]) => [`${module}.bias`, parameters[name]!])),
  ...Object.fromEntries(
    [
      ...plan.saved.flatMap(({ name }) => [`${name}.weight`, `${name}.bias`]),
      ...(plan.savedNorms ?? []).flatMap(tensorsOfNorm),
    ]
      .filter((name) => parameters[name])
      .map((name) => [name, parameters[name]!]),
  ),
  ...mergedTokenRows(model, plan.tokens ?? [], parameters),
});

const tensorsOfNorm = ({ name, hasBias }: NormInfo): readonly string[] =>
  hasBias ? [`${name}.weight`, `${name}.bias`] : [`${name}.weight`];

/** A method's hooks with the modules and biases of the plan that are trained whole, as copies. */
export function withWholeModules(plan: AdapterPlan, parameters: Named, method: LayerHooks): LayerHooks {
  if (!trainsCopies(plan)) return method;
  const { saved, savedNorms = [], biases, tied } = plan;
  const own = withTokenRows(plan.tokens ?? [], parameters, method);
  const norms = new Set(savedNorms.map(({ name }) => name));
  const whole = new Set(saved.map(({ name }) => name));
  const copy = (module: string, tensor: 'weight' | 'bias') => parameters[`${module}.${tensor}`];
  const withBias = (layer: LinearLayer): LinearLayer => {
    const name = biases.get(layer.name);
    if (name === undefined) return layer;
    const bias = parameters[name]!;
    return { ...layer, bias, apply: (x) => applyLinear(x, layer.weight, bias, layer.transposed) };
  };
  return {
    ...own,
    linear(x: Tensor, base: LinearLayer) {
      if (whole.has(base.name)) {
        return applyLinear(x, copy(base.name, 'weight')!, copy(base.name, 'bias'), base.transposed);
      }
      const layer = withBias(base);
      return own.linear ? own.linear(x, layer) : layer.apply(x);
    },
    embedding(tokens: Tensor, layer: EmbeddingLayer) {
      if (whole.has(layer.name)) return copy(layer.name, 'weight')!.gather(tokens);
      return own.embedding ? own.embedding(tokens, layer) : layer.apply(tokens);
    },
    ...(norms.size > 0 && {
      norm(x: Tensor, layer: NormLayer) {
        if (norms.has(layer.name)) {
          return layer.apply(x, { weight: copy(layer.name, 'weight')!, bias: copy(layer.name, 'bias') });
        }
        return own.norm ? own.norm(x, layer) : layer.apply(x);
      },
    }),
    headWeight(layer) {
      const follows = tied?.by === 'modulesToSave' && tied.head.name === layer.name;
      if (follows) return copy(tied.embedding.name, 'weight')!;
      if (whole.has(layer.name)) return copy(layer.name, 'weight')!;
      return own.headWeight ? own.headWeight(layer) : layer.weight;
    },
  };
}
