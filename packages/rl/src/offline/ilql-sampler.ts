import { type Given, number, options } from '@posttrain/interfaces';
import { CausalLM, type DecodingMix, HeadError, type ValueModel } from '@posttrain/lm';

const ilqlSamplerOptions = options('ilqlSampler', {
  /** β: what a unit of advantage is worth, in nats. 0 is the policy. Default 1, as in trlX. */
  beta: number({ default: 1, min: 0 }),
});
/** Options of `ilqlSampler`. */
export type IlqlSamplerOptions = Given<typeof ilqlSamplerOptions>;

/** What `ilql` has trained, ready to sample from. */
export interface IlqlPolicy {
  /** The language model of the same weights: what is tilted. */
  readonly model: CausalLM;
  /** For `mix` of a request, or `singleTurn({ mix })`. */
  readonly mix: DecodingMix;
}

/**
 * The policy of ILQL (arXiv 2206.11871, § 4.3): log π_β(a|s) ∝ log π(a|s) + β (min(Q̂_1, Q̂_2)(s, a) - V(s)), by the target heads, as in trlX. V(s) is the
 * same for all tokens and falls out. The trunk runs once for the policy and once for each head.
 *
 * @param trained a `ValueModel` with the heads of `withQHeads`
 * @throws OptionError; HeadError where a head is missing, or the output layer is the embedding
 */
export function ilqlSampler(trained: ValueModel, given: IlqlSamplerOptions = {}): IlqlPolicy {
  const { beta } = ilqlSamplerOptions.read(given);
  const { head: _, ...config } = trained.config;
  const { tokenizer, chatTemplate, name } = trained;
  if (config.tieWordEmbeddings) {
    throw new HeadError(
      `${name}: its output layer is its embedding, in whose place no Q head can be; untie them first`,
    );
  }
  const kept = Object.entries(trained.weights).filter(([key]) => !/^(v_head|(target_)?q[12]_head)\./.test(key));
  const parts = { config, tokenizer, chatTemplate, name };
  const model = new CausalLM({ ...parts, weights: Object.fromEntries(kept) });
  const heads = ['target_q1_head', 'target_q2_head'].map((head) => {
    const matrix = trained.weights[`${head}.weight`];
    if (matrix) return { model: model.withWeights({ ...model.weights, 'lm_head.weight': matrix }) };
    throw new HeadError(`${name} has no ${head}.weight; withQHeads gives a model its Q heads`);
  });
  const mix: DecodingMix = {
    name: 'ilqlSampler',
    settings: ilqlSamplerOptions.settings(given),
    models: heads,
    combine: (policy, [first, second]) =>
      policy.map((x, token) => x + beta * Math.min(first![token]!, second![token]!)),
  };
  return { model, mix };
}
