import { nameScope, type Tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import type { HeadConfig, ModelConfig } from '../config/index.js';
import { activations } from './activations.js';
import type { ParameterInfo } from './family.js';
import { applyLinear, type LayerHooks, type ModuleInfo, type Weights } from './layers.js';
import type { HiddenOptions, Network, SequenceInput } from './network.js';

/** A model without the head that was asked for. */
export class HeadError extends PosttrainError {
  constructor(message: string) {
    super('HEAD', message);
  }
}

const OUTPUT_LAYER = 'lm_head';

/** The linear layers of a head, in order. */
function headLayers({ module, hiddenLayer, labels, bias }: HeadConfig, width: number) {
  const last = { in: width, out: labels.length, bias };
  if (!hiddenLayer) return [{ name: module, ...last }];
  return [
    { name: `${module}.0`, in: width, out: width, bias },
    { name: `${module}.2`, ...last },
  ];
}

/** The parameters of a trunk with its head, if the config has one: only TRL's value head leaves the output layer. */
export function withHeadParameters(
  { head, hiddenSize }: ModelConfig,
  trunk: readonly ParameterInfo[],
): readonly ParameterInfo[] {
  if (!head) return trunk;
  const own = headLayers(head, hiddenSize).flatMap((layer): ParameterInfo[] => [
    { name: `${layer.name}.weight`, shape: [layer.out, layer.in], init: 'normal' },
    ...(layer.bias ? [{ name: `${layer.name}.bias`, shape: [layer.out], init: 'zeros' as const }] : []),
  ]);
  const kept = head.task === 'value' ? trunk : trunk.filter(({ name }) => !name.startsWith(`${OUTPUT_LAYER}.`));
  return [...kept, ...own];
}

/** The modules of a trunk with its head: of kind `head`, so that "all-linear" and quantisation leave them as they are. */
export function withHeadModules(
  { head, hiddenSize }: ModelConfig,
  trunk: readonly ModuleInfo[],
): readonly ModuleInfo[] {
  if (!head) return trunk;
  const own = headLayers(head, hiddenSize).map(({ name, in: inFeatures, out: outFeatures }): ModuleInfo => {
    return { name, kind: 'head', inFeatures, outFeatures, layer: undefined, transposed: false };
  });
  return [...(head.task === 'value' ? trunk : trunk.filter(({ name }) => name !== OUTPUT_LAYER)), ...own];
}

/** What a head needs of a network. */
type HeadNetwork = Pick<Network, 'modules'> & { readonly config: Pick<ModelConfig, 'head' | 'hiddenSize'> };

/** The head of a network. @throws HeadError when it has none */
export function headOf({ config }: HeadNetwork): HeadConfig {
  if (config.head) return config.head;
  throw new HeadError('the model is a causal language model without a head of its own: make one with `fromCausalLM`.');
}

/**
 * Final hidden states [..., width] → logits [..., labels]: hidden · Wᵀ + b, or W₂ relu(W₁ hidden + b₁) + b₂ for a head
 * with a hidden layer. Adapters enter through `hooks.linear`.
 *
 * @throws HeadError for a causal language model
 */
export function headLogits(network: HeadNetwork, weights: Weights, hidden: Tensor, hooks: LayerHooks = {}): Tensor {
  const linear = (x: Tensor, name: string): Tensor => {
    const [weight, bias] = [weights[`${name}.weight`]!, weights[`${name}.bias`]];
    const apply = (input: Tensor) => applyLinear(input, weight, bias, false);
    const info = network.modules.get(name)!;
    return nameScope(name, () => (hooks.linear ? hooks.linear(x, { ...info, weight, bias, apply }) : apply(x)));
  };
  const [first, ...rest] = headLayers(headOf(network), network.config.hiddenSize);
  return rest.reduce((x, { name }) => linear(activations.relu(x), name), linear(hidden, first!.name));
}

/** Logits [b, s, labels] at every token of whole sequences. @throws HeadError for a causal language model */
export function tokenLogits(
  network: Network,
  weights: Weights,
  input: SequenceInput,
  hooks: LayerHooks = {},
  options: HiddenOptions = {},
): Tensor {
  return headLogits(network, weights, network.hidden(weights, input, hooks, options), hooks);
}

/**
 * Logits [b, labels] of whole sequences: those at each row's token `last` int32 [b], which is the last that is not
 * padding. The head is applied at these tokens only.
 *
 * @throws HeadError for a causal language model
 */
export function sequenceLogits(
  network: Network,
  weights: Weights,
  input: SequenceInput & { readonly last: Tensor },
  hooks: LayerHooks = {},
  options: HiddenOptions = {},
): Tensor {
  const hidden = network.hidden(weights, input, hooks, options);
  const [b, , width] = hidden.shape as [number, number, number];
  const at = input.last.reshape([b, 1, 1]).broadcastTo([b, 1, width]);
  return headLogits(network, weights, hidden.takeAlongAxis(at, 1).reshape([b, width]), hooks);
}

/** A value for every token, [b, s]: what the head with one output says of the state after it. @throws HeadError */
export function tokenValues(
  network: Network,
  weights: Weights,
  input: SequenceInput,
  hooks: LayerHooks = {},
  options: HiddenOptions = {},
): Tensor {
  const { labels } = headOf(network);
  if (labels.length !== 1) throw new HeadError(`a value is one number, but the head gives ${labels.length}`);
  return tokenLogits(network, weights, input, hooks, options).squeeze(2);
}
