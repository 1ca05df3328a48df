import { concat, logSumExp, nameScope, softCap, type Tensor } from '@posttrain/core-tensor';
import { custom, type Given, integer, number, options, text } from '@posttrain/interfaces';
import { HeadError } from '@posttrain/lm';
import type { ForwardPass, Readout } from '../loss/loss.js';
import type { TeacherModel } from './divergence.js';
import { predictionLayer } from './prediction-layer.js';
import { logAddExp, reduceOverVocabulary, sumOverVocabulary, type VocabularyLogits } from './vocabulary.js';

const qValuesOptions = options('qValues', {
  /**
   * The head that gives Q: `NAME.weight` [vocabulary, width] among the model's weights, with `NAME.bias` where there
   * is one. Default: the output layer, whose logits then are Q.
   */
  head: text({ optional: true }),
  /** α of the soft value α log Σ_a e^(Q(s, a) / α). Default 1. */
  alpha: number({ default: 1, above: 0 }),
  /**
   * Whose π(·|s) `expected` is over: a model that runs on the same tokens and gets no gradient. Default: the output
   * layer of the pass.
   */
  policy: custom<TeacherModel>()(
    'a model: { network, weights }',
    (value) => typeof value === 'object' && value !== null && 'network' in value && 'weights' in value,
    { optional: true, decisive: false },
  ),
  /** Vocabulary entries whose values exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  chunkSize: integer({ optional: true, min: 1 }),
});
/** Options of the readout `qValues`. */
export type QValuesOptions = Given<typeof qValuesOptions>;

/** What is known of Q(s, ·) at each prediction, float32 [b, s - 1] each. What a loss does not read is not computed. */
export interface QValues extends Readonly<Record<string, Tensor>> {
  /** Q(s, a) of the token that follows. */
  readonly chosen: Tensor;
  /** max_a Q(s, a); the gradient goes to the token that has it. */
  readonly max: Tensor;
  /** α log Σ_a e^(Q(s, a) / α). */
  readonly soft: Tensor;
  /** Σ_a π(a|s) Q(s, a). */
  readonly expected: Tensor;
}

/**
 * Values Q(s, ·) of every token as the next one, as ILQL (arXiv 2206.11871), CQL (arXiv 2006.04779) and soft
 * Q-learning read them. The values of a chunk of the vocabulary exist at a time, forward and backward.
 *
 * @throws OptionError; HeadError where the model has no such head
 */
export function qValues(given: QValuesOptions = {}): Readout<QValues> {
  const { head, alpha, policy, chunkSize } = qValuesOptions.read(given);
  return {
    name: head === undefined ? 'qValues' : `qValues(${head})`,
    per: 'prediction',
    compute(pass) {
      const { tokens } = pass.batch;
      const [b, s] = tokens.shape as [number, number];
      const layer = head === undefined ? predictionLayer(pass, 1) : headLayer(pass, head);
      const targets = tokens.slice(1, 1).reshape([b * (s - 1)]);
      const over = (reduce: (q: Tensor) => Tensor, combine: (x: Tensor, y: Tensor) => Tensor) =>
        reduceOverVocabulary([layer], ([q]) => reduce(q!), combine, chunkSize);
      const found: Record<keyof QValues, Tensor> = {
        chosen: chosenOf(layer, targets),
        max: over(
          (q) => q.max(1),
          (x, y) => x.maximum(y),
        ),
        soft: over((q) => logSumExp(q.mul(1 / alpha)).squeeze(1), logAddExp).mul(alpha),
        expected: expectedOf(layer, policyLayer(pass, policy), chunkSize),
      };
      return Object.fromEntries(Object.entries(found).map(([name, x]) => [name, x.reshape([b, s - 1])])) as QValues;
    },
  };
}

/** A head by its name, as an output layer over what predicts tokens. A bias is one more column, whose state is 1. */
function headLayer({ weights, hidden, network }: ForwardPass, head: string): VocabularyLogits {
  const [b, s, width] = hidden.shape as [number, number, number];
  const [own, bias] = [weights[`${head}.weight`], weights[`${head}.bias`]];
  const { vocabSize } = network.config;
  if (own?.shape[0] !== vocabSize || own.shape[1] !== width) {
    const found = own ? `[${own.shape.join(', ')}]` : 'not there';
    throw new HeadError(`qValues needs ${head}.weight [${vocabSize}, ${width}] among the weights, and it is ${found}.`);
  }
  return nameScope(head, () => {
    const states = hidden.slice(1, 0, s - 1).reshape([b * (s - 1), width]);
    const matrix = own.cast(states.dtype);
    const shared = { temperature: 1, softCap: undefined };
    if (!bias) return { ...shared, states, matrix };
    const one = states.slice(1, 0, 1).mul(0).add(1);
    return {
      ...shared,
      states: concat([states, one], 1),
      matrix: concat([matrix, bias.cast(states.dtype).expandDims(1)], 1),
    };
  });
}

/** Q of one token at each of n predictions: the row of the head that belongs to it. */
function chosenOf({ states, matrix, softCap: cap }: VocabularyLogits, targets: Tensor): Tensor {
  const q = states.mul(matrix.gather(targets)).cast('float32').sum(1);
  return cap === undefined ? q : softCap(q, cap);
}

function policyLayer(pass: ForwardPass, policy: TeacherModel | undefined): VocabularyLogits {
  if (!policy) return predictionLayer(pass, 1);
  const { network, weights, hooks = {} } = policy;
  return predictionLayer({ network, weights, hooks, hidden: network.hidden(weights, pass.batch, hooks) }, 1);
}

/** Σ_a π(a|s) Q(s, a), with log Σ_a e^logit of π over the same chunks first. */
function expectedOf(q: VocabularyLogits, policy: VocabularyLogits, chunkSize: number | undefined): Tensor {
  const sums = reduceOverVocabulary([policy], ([z]) => logSumExp(z!), logAddExp, chunkSize);
  return sumOverVocabulary([policy, q], ([z, values]) => z!.sub(sums).exp().mul(values!).sum(1), chunkSize);
}
