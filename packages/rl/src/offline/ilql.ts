import { Key, stopGradient, type Tensor, tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import {
  type Loss,
  nextOf,
  predictions,
  qValues,
  type TrainableModel,
  type Trainer,
  tokenValues,
  weightedSum,
} from '@posttrain/training';

const HEADS = ['q1_head', 'q2_head'] as const;
const TARGET = 'target_';

const ilqlOptions = options('ilql', {
  /** γ, what a reward one action later counts. Default 0.99. */
  gamma: number({ default: 0.99, min: 0, max: 1 }),
  /** τ of the expectile: 0.5 values what the data did, 1 the best of it. Default 0.7. */
  tau: number({ default: 0.7, above: 0, below: 1 }),
  /** What the CQL term counts. Default 0.1. */
  cqlScale: number({ default: 0.1, min: 0 }),
  /** What the log-likelihood of the actions counts. Default 1. */
  awacScale: number({ default: 1, min: 0 }),
  /** How much more an action counts there that is better than its state: e^(β (Q - V)). Default 0: cloning. */
  beta: number({ default: 0, min: 0 }),
});
/** Options of `ilql`. */
export type IlqlOptions = Given<typeof ilqlOptions>;

/**
 * Implicit Language Q-Learning (arXiv 2206.11871), with the option names of trlX. For a model with a value head
 * beside its output layer (`ValueModel`, format `v_head`) and the heads of `withQHeads`:
 *
 * Σ w (Q_i(s, a) - r - γ V(s'))² + Σ w |τ - 1(Q̂ < V)| (Q̂ - V)² + cqlScale Σ w (log Σ_a e^Q_i - Q_i(s, a)) -
 * awacScale Σ w e^(β(Q̂ - V)) log π(a|s)
 *
 * for both Q_i, with Q̂ the smaller of the two target heads. V(s') is that of the state before the next action of the
 * sequence, 0 behind the last one; it, Q̂ and the weights e^(…) get no gradient. Weights are not 0 at actions. The
 * annotation `rewards` has r at every action. Metrics: the four terms, before their scales.
 *
 * @throws OptionError; HeadError where a head is missing
 */
export function ilql(given: IlqlOptions = {}): Loss {
  const { gamma, tau, cqlScale, awacScale, beta } = ilqlOptions.read(given);
  const heads = HEADS.map((head) => qValues({ head }));
  const targets = HEADS.map((head) => qValues({ head: `${TARGET}${head}` }));
  return {
    name: 'ilql',
    annotations: ['rewards'],
    computeFrom(read, { weights, segments, annotations }) {
      const isAction = weights.notEqual(0).cast('float32');
      const values = read(tokenValues).slice(1, 0, weights.shape[1]!);
      const goal = annotations.rewards!.add(stopGradient(nextOf(values, isAction, segments)).mul(gamma));
      const target = stopGradient(targets.map((head) => read(head).chosen).reduce((a, b) => a.minimum(b)));
      const above = target.sub(values);
      const over = (of: (q: { readonly chosen: Tensor; readonly soft: Tensor }) => Tensor) =>
        weightedSum(
          heads.map((head) => of(read(head))).reduce((a, b) => a.add(b)),
          weights,
        );
      const q = over(({ chosen }) => chosen.sub(goal).square());
      const expectile = above
        .greaterEqual(0)
        .cast('float32')
        .mul(2 * tau - 1)
        .add(1 - tau);
      const v = weightedSum(expectile.mul(above.square()), weights);
      const cql = over(({ chosen, soft }) => soft.sub(chosen));
      const better = stopGradient(above.mul(beta).exp());
      const awac = weightedSum(better.mul(read(predictions()).logProbs).neg(), weights);
      const loss = q.add(v).add(cql.mul(cqlScale)).add(awac.mul(awacScale));
      return { loss, metrics: { q_loss: q, v_loss: v, cql_loss: cql, awac_loss: awac } };
    },
  };
}

/**
 * A model with the four heads of `ilql` [vocabulary, width] beside its weights: two normal with 0.02, and their
 * targets, equal to them.
 */
export function withQHeads<M extends TrainableModel>(model: M, seed = 0): M {
  const { vocabSize, hiddenSize } = model.config;
  const key = Key.fromSeed(seed);
  const heads = HEADS.flatMap((head, i) => {
    const numbers = key.child(i).normalHost(vocabSize * hiddenSize);
    return [head, `${TARGET}${head}`].map((name) => {
      return [
        `${name}.weight`,
        tensor(
          numbers.map((x) => 0.02 * x),
          [vocabSize, hiddenSize],
        ),
      ] as const;
    });
  });
  return model.withWeights({ ...model.weights, ...Object.fromEntries(heads) });
}

const syncOptions = options('syncTargets', {
  /** How much of the way the targets go to their heads. Default 0.005, as in the paper. */
  alpha: number({ default: 0.005, min: 0, max: 1 }),
});

/** Moves the target heads of `withQHeads` towards the heads, between two steps: target ← α q + (1 - α) target. */
export async function syncTargets<M extends TrainableModel>(
  trainer: Trainer<M>,
  given: Given<typeof syncOptions> = {},
): Promise<void> {
  const { alpha } = syncOptions.read(given);
  const { parameters } = trainer;
  const moved = HEADS.map((head) => {
    const [own, target] = [head, `${TARGET}${head}`].map((name) => parameters[`${name}.weight`]!);
    return [`${TARGET}${head}.weight`, own!.mul(alpha).add(target!.mul(1 - alpha))] as const;
  });
  await trainer.assign({ ...parameters, ...Object.fromEntries(moved) });
}
