import { grad, stopGradient, type Tensor, zeros } from '@posttrain/core-tensor';
import { changeEmbeddings } from '../loss/embeddings.js';
import type { ForwardPass, Readout, ReadoutValue } from '../loss/loss.js';

/** A pass over the same rows whose token embeddings [b, s, width] are what `change` makes of those of this one. */
const passWith = (pass: ForwardPass, change: (embeddings: Tensor) => Tensor): ForwardPass =>
  pass.again(changeEmbeddings(pass.network, pass.hooks, change));

/**
 * What a readout gives of a second pass over the same rows, whose token embeddings [b, s, width] are what `change`
 * makes of those of the first: noise, a mixture, an adversary's perturbation (arXiv 1605.07725). A loss may read
 * both.
 */
export const withEmbeddings = <T extends ReadoutValue>(
  readout: Readout<T>,
  change: (embeddings: Tensor, pass: ForwardPass) => Tensor,
): Readout<T> => ({
  ...readout,
  name: `${readout.name}(embeddings)`,
  compute: (pass) => passWith(pass, (embeddings) => change(embeddings, pass)).read(readout),
});

/**
 * The gradient of a scalar with respect to the token embeddings, [b, s, width]: which way an adversary would go, what
 * a token matters. It is a number to a loss that reads it: no gradient flows through it.
 *
 * @param objective a scalar of a pass, such as the negative log-likelihood of its rows
 */
export const embeddingGradient = (objective: (pass: ForwardPass) => Tensor): Readout<Tensor> => ({
  name: 'embeddingGradient',
  per: 'token',
  compute(pass) {
    const start = zeros([...pass.batch.tokens.shape, pass.network.config.hiddenSize]);
    const moved = (delta: Tensor) =>
      objective(passWith(pass, (embeddings) => embeddings.add(delta.cast(embeddings.dtype))));
    return stopGradient(grad(moved)(start) as Tensor);
  },
});
