import { stopGradient } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { CausalLM, HeadError, type ValueModel } from '@posttrain/lm';
import { type Loss, nextOf, qValues, weightedSum } from '@posttrain/training';

const cqlOptions = options('cql', {
  /** γ, what a reward one action later counts. Default 0.99. */
  gamma: number({ default: 0.99, min: 0, max: 1 }),
  /** α: how much Q is pushed down at actions that the data does not take. 0 is Q-learning from a log. Default 1. */
  alpha: number({ default: 1, min: 0 }),
});
/** Options of `cql`. */
export type CqlOptions = Given<typeof cqlOptions>;

/**
 * Conservative Q-learning, CQL(H) (arXiv 2006.04779, eq. 4), where an action is a token, for any model with the heads of `withQHeads`:
 *
 * Σ w (½ (Q(s, a) - r - γ max_a' Q̄(s', a'))² + α (log Σ_a e^Q(s, a) - Q(s, a)))
 *
 * with Q the head `q1_head` and Q̄ its target, which gets no gradient and follows by `syncTargets`. s' is the state before the next action of the sequence;
 * behind the last one its value is 0. Weights are not 0 at actions. The annotation `rewards` has r at every action. Of a table its optimum is
 * Q = r + γ max Q̄ - α (e^Q / (Σ e^Q π_β) - 1): below what the data says of it at actions that it has too few of. Metrics: the two terms, before α.
 *
 * @throws OptionError; HeadError where a head is missing
 */
export function cql(given: CqlOptions = {}): Loss {
  const { gamma, alpha } = cqlOptions.read(given);
  const head = qValues({ head: 'q1_head' });
  const target = qValues({ head: 'target_q1_head' });
  return {
    name: 'cql',
    annotations: ['rewards'],
    computeFrom(read, { weights, segments, annotations }) {
      const isAction = weights.notEqual(0).cast('float32');
      const best = stopGradient(read(target).max);
      const goal = annotations.rewards!.add(nextOf(best, isAction, segments).mul(gamma));
      const { chosen, soft } = read(head);
      const bellman = weightedSum(chosen.sub(goal).square().mul(0.5), weights);
      const conservative = weightedSum(soft.sub(chosen), weights);
      return {
        loss: bellman.add(conservative.mul(alpha)),
        metrics: { bellman_loss: bellman, conservative_loss: conservative },
      };
    },
  };
}

/**
 * A Q head as a policy: the language model whose logits are Q, so that sampling at temperature τ draws from e^(Q/τ), the policy of CQL(H) at τ = 1, and
 * greedily the best action.
 *
 * @param trained a model with the heads of `withQHeads`
 * @throws HeadError where the head is missing, or the output layer is the embedding
 */
export function qPolicy(trained: CausalLM | ValueModel): CausalLM {
  const { tokenizer, chatTemplate, name, weights } = trained;
  const { head: _, ...config } = trained.config;
  const matrix = weights['q1_head.weight'];
  if (!matrix) throw new HeadError(`${name} has no q1_head.weight; withQHeads gives a model its Q heads`);
  if (config.tieWordEmbeddings) {
    throw new HeadError(
      `${name}: its output layer is its embedding, in whose place no Q head can be; untie them first`,
    );
  }
  const kept = Object.entries(weights).filter(([key]) => !/^(v_head|(target_)?q[12]_head)\./.test(key));
  const parts = { config, tokenizer, chatTemplate, name };
  return new CausalLM({ ...parts, weights: { ...Object.fromEntries(kept), 'lm_head.weight': matrix } });
}
