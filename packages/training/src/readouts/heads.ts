import { iota, type Tensor, where } from '@posttrain/core-tensor';
import { HeadError, headLogits } from '@posttrain/lm';
import type { ForwardPass, Readout } from '../loss/loss.js';

/** Final, normalised hidden states [b, s, width]: `last_hidden_state` of transformers. */
export const hiddenStates: Readout<Tensor> = { name: 'hiddenStates', per: 'token', compute: ({ hidden }) => hidden };

/** Logits [b, s, labels] of a head at every token: process rewards, tagging. @throws HeadError for a causal language model */
export const tokenLogits: Readout<Tensor> = {
  name: 'tokenLogits',
  per: 'token',
  compute: ({ network, weights, hidden, hooks }) => headLogits(network, weights, hidden, hooks),
};

/**
 * A value for the state after every token, [b, s]: critics. Predictions are one fewer: entry t is the value before token t + 1.
 *
 * @throws HeadError for a causal language model, and for a head with several outputs
 */
export const tokenValues: Readout<Tensor> = {
  name: 'tokenValues',
  per: 'token',
  compute({ read }) {
    const logits = read(tokenLogits);
    const labels = logits.shape[2];
    if (labels !== 1) throw new HeadError(`a value is one number, but the head gives ${labels}`);
    return logits.squeeze(2);
  },
};

/** int32 [b]: where transformers reads a whole row, the last token that is not the config's padding id. */
function lastToken({ network, batch: { tokens, segments } }: ForwardPass): Tensor {
  const { padTokenId } = network.config;
  const isToken = segments.greater(0);
  const counts = padTokenId === undefined ? isToken : isToken.and(tokens.notEqual(padTokenId));
  return where(counts, iota(tokens.shape, 1), 0).max(1);
}

/**
 * Logits [b, labels] of a head for whole rows, read at their last token, as `SequenceClassifier.logits` does: outcome reward
 * models, classifiers.
 *
 * @throws HeadError for a causal language model
 */
export const sequenceLogits: Readout<Tensor> = {
  name: 'sequenceLogits',
  per: 'row',
  wholeRow: true,
  compute(pass) {
    const { network, weights, hidden, hooks } = pass;
    const [b, , width] = hidden.shape as [number, number, number];
    const at = lastToken(pass).reshape([b, 1, 1]).broadcastTo([b, 1, width]);
    return headLogits(network, weights, hidden.takeAlongAxis(at, 1).reshape([b, width]), hooks);
  },
};
