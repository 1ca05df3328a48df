import { mapTree, nameScope, type Tensor, tokenLogProbs } from '@posttrain/core-tensor';
import type { LayerHooks, Weights } from '../model/layers.js';
import type { HiddenOptions, Network, RunnableModel, SequenceInput } from '../model/network.js';

/** One number per prediction, float32 [b, s - 1]: entry t belongs to predicting token t + 1. */
export interface PredictionLogProbs {
  /** log p of each token given those before it, natural log. */
  readonly logProbs: Tensor;
  /** Entropy of the distribution it was predicted from, in nats. */
  readonly entropies: Tensor;
  /** 1 where no token was more likely, else 0. */
  readonly isGreedy: Tensor;
}

/** How a model predicts the tokens of whole sequences int32 [b, s]; the logits exist for a chunk of them at a time. */
export function predictionLogProbs(
  { network, weights }: RunnableModel,
  input: SequenceInput,
  options: HiddenOptions & { readonly hooks?: LayerHooks; readonly temperature?: number } = {},
): PredictionLogProbs {
  const s = input.tokens.shape[1]!;
  const { hooks = {}, temperature = 1 } = options;
  const hidden = network.hidden(weights, input, hooks, options);
  return logProbsOf(network, weights, hidden.slice(1, 0, s - 1), input.tokens.slice(1, 1), { hooks, temperature });
}

/** The same from final hidden states [b, s, width] and the tokens int32 [b, s] that they predict. */
export function logProbsOf(
  network: Pick<Network, 'outputLayer' | 'logitSoftCap'>,
  weights: Weights,
  hidden: Tensor,
  targets: Tensor,
  { hooks = {}, temperature = 1 }: { readonly hooks?: LayerHooks; readonly temperature?: number },
): PredictionLogProbs & { readonly logSumExps: Tensor } {
  const [b, s, width] = hidden.shape as [number, number, number];
  const scored = nameScope('lm_head', () => {
    const { states, matrix } = network.outputLayer(weights, hidden.reshape([b * s, width]), hooks);
    return tokenLogProbs(states, matrix, targets.reshape([b * s]), { temperature, softCap: network.logitSoftCap });
  });
  return mapTree(scored, (x) => x.reshape([b, s]));
}
