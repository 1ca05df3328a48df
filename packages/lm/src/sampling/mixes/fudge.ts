import { type Given, number, options } from '@posttrain/interfaces';
import { type DecodingMix, logitsFrom } from '../decoding-mix.js';

const fudgeOptions = options('fudge', {
  /**
   * A model whose output layer gives, for every token, the log-odds that a text with the attribute comes of the tokens so far and that
   * one: `fudgeLoss` of `@posttrain/training` trains it on prefixes. A head on the policy's own states is the policy with its
   * matrix as `lm_head.weight`.
   */
  classifier: logitsFrom(),
  /** λ: what the classifier counts. 1 is Bayes' rule. Default 1. */
  lambda: number({ default: 1 }),
});
/** Options of `fudge`. */
export type FudgeOptions = Given<typeof fudgeOptions>;

/**
 * FUDGE, future discriminators for generation (arXiv 2104.05218 §3): each token is drawn from the policy times what it promises of an
 * attribute a of the whole text,
 *
 *   p(y) p(a | x, y)^λ,    log p(a | x, y) = log σ(z(y))
 *
 * With λ = 1 and the true p(a | prefix) the text is distributed as the policy's own given that it has a. The paper's classifier
 * reads each of the 200 likeliest tokens; this one gives z of all of them in one pass.
 *
 * @throws OptionError
 */
export function fudge(given: FudgeOptions): DecodingMix {
  const { classifier, lambda } = fudgeOptions.read(given);
  return {
    name: 'fudge',
    settings: fudgeOptions.settings(given),
    models: [classifier],
    combine: (policy, [odds]) => policy.map((x, token) => x + lambda * logSigmoid(odds![token]!)),
  };
}

/** −log(1 + e^−z), without overflow. */
const logSigmoid = (z: number): number => Math.min(0, z) - Math.log1p(Math.exp(-Math.abs(z)));
