import { concat, type Engine, iota, layerNorm, type Tensor, where } from '@posttrain/core-tensor';
import { applyLinear, HeadError, type LayerHooks, networkOf, type ParameterInfo, type Weights } from '@posttrain/lm';
import type { Readout, TrainableNetwork } from '@posttrain/training';
import type { DecisionTransformerConfig } from './config.js';

/** torch's, of the LayerNorm over embeddings. */
const EMBEDDING_EPSILON = 1e-5;

const TRUNK = ['encoder.', 'transformer.'] as const;

/** Parameters by transformers' names. */
export function parametersOf(config: DecisionTransformerConfig): readonly ParameterInfo[] {
  const { hiddenSize: width, stateSize, actionSize, maxEpisodeLength } = config;
  const linear = (name: string, from: number, to: number): ParameterInfo[] => [
    { name: `${name}.weight`, shape: [to, from], init: 'normal' },
    { name: `${name}.bias`, shape: [to], init: 'zeros' },
  ];
  return [
    ...networkOf(config.gpt2).parameters.map(({ name, ...rest }) => ({
      ...rest,
      name: name.replace(TRUNK[1], TRUNK[0]),
    })),
    { name: 'embed_timestep.weight', shape: [maxEpisodeLength, width], init: 'normal' },
    ...linear('embed_return', 1, width),
    ...linear('embed_state', stateSize, width),
    ...linear('embed_action', actionSize, width),
    { name: 'embed_ln.weight', shape: [width], init: 'ones' },
    { name: 'embed_ln.bias', shape: [width], init: 'zeros' },
    ...linear('predict_state', width, stateSize),
    ...linear('predict_action.0', width, actionSize),
    ...linear('predict_return', width, 1),
  ];
}

/**
 * The network: GPT-2's blocks over embeddings of R̂, s and a in turn, which stand in the place of its token
 * embeddings. The place in the sequence of a token says which of the three it is; the inputs `returns_to_go` [b, s,
 * 1], `states` [b, s, stateSize] and `timesteps` int32 [b, s, 1] are read where they belong, and so is the action:
 * the token itself where it is a choice, else `actions` [b, s, actionSize].
 */
export function decisionTransformerNetwork(config: DecisionTransformerConfig, engine: Engine): TrainableNetwork {
  const trunk = networkOf(config.gpt2, new Map(), engine);
  const linear = (x: Tensor, weights: Weights, name: string) =>
    applyLinear(x, weights[`${name}.weight`]!, weights[`${name}.bias`], false);

  function embeddings(
    weights: Weights,
    tokens: Tensor,
    positions: Tensor,
    inputs: Readonly<Record<string, Tensor>>,
  ): Tensor {
    const { returns_to_go, states, timesteps } = inputs;
    const own = weights['embed_return.weight']!.dtype;
    const actions = config.discrete
      ? tokens
          .expandDims(2)
          .equal(iota([...tokens.shape, config.actionSize], 2))
          .cast(own)
      : inputs.actions!.cast(own);
    const kind = positions.mod(3).expandDims(2);
    const chosen = where(
      kind.equal(0),
      linear(returns_to_go!.cast(own), weights, 'embed_return'),
      where(kind.equal(1), linear(states!.cast(own), weights, 'embed_state'), linear(actions, weights, 'embed_action')),
    );
    const placed = chosen.add(weights['embed_timestep.weight']!.gather(timesteps!.squeeze(2)));
    return layerNorm(placed, weights['embed_ln.weight']!, weights['embed_ln.bias']!, { epsilon: EMBEDDING_EPSILON });
  }

  return {
    config,
    engine,
    modules: trunk.modules,
    logitSoftCap: undefined,
    hidden(weights, input, hooks = {}, options = {}) {
      const blocks = Object.fromEntries(
        Object.entries(weights).map(([name, x]) => [name.replace(TRUNK[0], TRUNK[1]), x] as const),
      );
      const embedded = embeddings(weights, input.tokens, input.positions, input.inputs ?? {});
      const own: LayerHooks = {
        ...hooks,
        // Time steps say where in an episode a token is: as in transformers, every token has the first of GPT-2's
        // positions.
        embedding(tokens, layer) {
          const given = layer.name === 'transformer.wte' ? () => embedded : () => layer.apply(tokens.mul(0));
          return hooks.embedding ? hooks.embedding(tokens, { ...layer, apply: given }) : given();
        },
      };
      return trunk.hidden(blocks, input, own, options);
    },
    outputLayer(weights, hidden) {
      if (!config.discrete)
        throw new HeadError('a Decision Transformer of actions that are vectors gives no log-probabilities.');
      const [weight, bias] = [weights['predict_action.0.weight']!, weights['predict_action.0.bias']!];
      // The bias is one more column, whose state is 1.
      const states = concat([hidden, hidden.slice(-1, 0, 1).mul(0).add(1)], -1);
      const matrix = concat([weight, bias.expandDims(1)], 1);
      return { states, matrix, isBase: true, logits: () => states.matmul(matrix, { transposeB: true }) };
    },
  };
}

/**
 * What the model says of the action after hidden states [..., width]: [..., actionSize], logits of choices or a
 * vector.
 */
export function actionsOf(
  { discrete, actionTanh }: DecisionTransformerConfig,
  weights: Weights,
  hidden: Tensor,
): Tensor {
  const out = applyLinear(hidden, weights['predict_action.0.weight']!, weights['predict_action.0.bias'], false);
  return actionTanh && !discrete ? out.cast('float32').tanh() : out.cast('float32');
}

/** The action vectors [b, s - 1, actionSize] that the model predicts after every token; those after a state count. */
export const actionVectors = (config: DecisionTransformerConfig): Readout<Tensor> => ({
  name: 'actionVectors',
  per: 'prediction',
  compute: ({ hidden, weights }) => actionsOf(config, weights, hidden.slice(1, 0, hidden.shape[1]! - 1)),
});
