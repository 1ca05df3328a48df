import { type Given, number, options } from '@posttrain/interfaces';
import { type DecodingMix, logitsFrom } from '../decoding-mix.js';
import { logSoftmax } from '../log-softmax.js';

const contrastiveOptions = options('contrastive', {
  /** The weak model; or the policy itself, with another adapter or prompt. */
  amateur: logitsFrom(),
  /** τ: divides the amateur's logits. Default 1. */
  amateurTemperature: number({ default: 1, above: 0 }),
  /** α: a token must have this fraction of the policy's most likely token's probability. Default 0.1. */
  alpha: number({ default: 0.1, min: 0, max: 1 }),
  /** β: how much the amateur counts beside the policy's own log-probabilities. Left out: the difference is all that counts. */
  beta: number({ optional: true, min: 0 }),
});
/** Options of `contrastive`. */
export type ContrastiveOptions = Given<typeof contrastiveOptions>;

/**
 * Contrastive decoding as a distribution to sample from (arXiv 2210.15097):
 *
 *   log p(y) − log p_amateur(y; τ)                   over y with p(y) ≥ α max_w p(w)
 *   (1 + β) log p(y) − β log p_amateur(y; τ)         with `beta` (arXiv 2309.09117)
 *
 * With `amateur.prompt` and α = 0 the second is classifier-free guidance (arXiv 2306.17806) with the scale 1 + β, or
 * context-aware decoding (arXiv 2305.14739). `contrastiveDecoding` searches with beams by the first.
 *
 * @throws OptionError
 */
export function contrastive(given: ContrastiveOptions): DecodingMix {
  const { amateur, amateurTemperature, alpha, beta } = contrastiveOptions.read(given);
  const [own, theirs] = beta === undefined ? [1, 1] : [1 + beta, beta];
  return {
    name: 'contrastive',
    settings: contrastiveOptions.settings(given),
    models: [amateur],
    combine(policy, [other]) {
      return contrast(logSoftmax(policy), logSoftmax(other!, amateurTemperature), { alpha, own, theirs });
    },
  };
}

/** own · log p − theirs · log p_amateur where p is at least α of its largest, elsewhere −∞. */
export function contrast(
  logProbs: Float64Array,
  amateur: Float64Array,
  { alpha, own = 1, theirs = 1 }: { readonly alpha: number; readonly own?: number; readonly theirs?: number },
): Float64Array {
  const least = logProbs.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY) + Math.log(alpha);
  return logProbs.map((x, token) =>
    x > Number.NEGATIVE_INFINITY && x >= least ? own * x - theirs * amateur[token]! : Number.NEGATIVE_INFINITY,
  );
}
