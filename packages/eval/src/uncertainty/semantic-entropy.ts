import {
  boolean,
  custom,
  type Entailer,
  type Given,
  oneOf,
  options,
  semanticClusters,
  text,
} from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

/** One of several answers to a question. */
export interface SampledAnswer {
  readonly text: string;
  /** Natural log-likelihood of the answer's tokens, summed. */
  readonly logProb?: number;
  /** How many tokens that is of. */
  readonly tokens?: number;
}

const semanticEntropyOptions = options('semanticEntropy', {
  /** What says whether answers follow from each other: `nliEntailer(model)` of `@posttrain/lm`, say. */
  entailer: custom<Entailer>()(
    'an entailer ({ name, entail(requests) })',
    (value) => typeof (value as Partial<Entailer> | null)?.entail === 'function',
    {},
  ),
  /** Put before every answer when it is compared, with a space: "Paris" alone entails little. Default: nothing. */
  question: text({ optional: true }),
  /**
   * Weigh answers by their mean log-likelihood per token and not by the sum, which prefers short ones. Default true.
   */
  lengthNormalized: boolean({ default: true }),
  /**
   * What one meaning is: answers that follow from each other (`entailment`), or, as in the published code where it is not strict, that do not contradict each other and are
   * not both neutral (`no contradiction`). Default `entailment`.
   */
  equivalence: oneOf(['entailment', 'no contradiction'], { default: 'entailment' }),
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
});
/** Options of `semanticEntropy`. */
export type SemanticEntropyOptions = Given<typeof semanticEntropyOptions>;

/** How much answers to one question differ in meaning. */
export interface SemanticEntropy {
  /**
   * −Σ p(c) log p(c) over clusters of one meaning, in nats: `weighted` where answers have log-likelihoods, else
   * `discrete`.
   */
  readonly entropy: number;
  /** Of p(c) = share of the answers. */
  readonly discrete: number;
  /** Of p(c) ∝ Σ over the cluster's answers of exp(log-likelihood); absent without log-likelihoods. */
  readonly weighted?: number;
  /** Number of each answer's cluster, counted from 0. */
  readonly clusters: readonly number[];
}

/**
 * Semantic entropy (Farquhar et al. 2024; arXiv 2302.09664): answers that entail each other both ways are one
 * meaning, and the entropy is that of meanings. High where a model makes things up. Both the estimate from sequence
 * likelihoods (the published code's "Rao") and the discrete one.
 *
 * @throws OptionError; EvaluationError `NO_ANSWERS`, and `NO_LIKELIHOOD` where some answers have a log-likelihood
 *   (and, for length normalisation, tokens) and others do not
 */
export async function semanticEntropy(
  answers: readonly SampledAnswer[],
  given: SemanticEntropyOptions,
): Promise<SemanticEntropy> {
  const { entailer, question, lengthNormalized, equivalence, signal } = semanticEntropyOptions.read(given);
  if (answers.length === 0) throw new EvaluationError('NO_ANSWERS', 'semanticEntropy: there are no answers.');
  const texts = answers.map((answer) => (question === undefined ? answer.text : `${question} ${answer.text}`));
  const clusters = await semanticClusters(texts, entailer, { equivalence, ...(signal && { signal }) });
  const discrete = entropyOf(
    clusters,
    answers.map(() => 1),
  );
  if (answers.every(({ logProb }) => logProb === undefined)) return { entropy: discrete, discrete, clusters };
  const logs = answers.map(({ logProb, tokens }, i) => {
    const value = logProb === undefined ? Number.NaN : lengthNormalized ? logProb / (tokens ?? Number.NaN) : logProb;
    if (Number.isFinite(value)) return value;
    const needed = `a finite logProb${lengthNormalized ? ' and its number of tokens' : ''}`;
    throw new EvaluationError('NO_LIKELIHOOD', `semanticEntropy: answer ${i} needs ${needed}, as others have one.`);
  });
  const most = Math.max(...logs);
  const weighted = entropyOf(
    clusters,
    logs.map((log) => Math.exp(log - most)),
  );
  return { entropy: weighted, discrete, weighted, clusters };
}

/** The entropy of clusters, each as likely as its members weigh together. */
function entropyOf(clusters: readonly number[], weights: readonly number[]): number {
  const masses = new Map<number, number>();
  clusters.forEach((cluster, i) => {
    masses.set(cluster, (masses.get(cluster) ?? 0) + weights[i]!);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return [...masses.values()].reduce((sum, mass) => {
    const p = mass / total;
    return p > 0 ? sum - p * Math.log(p) : sum;
  }, 0);
}
