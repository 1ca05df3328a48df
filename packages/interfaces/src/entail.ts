/** Whether one text follows from another. */
export interface EntailmentRequest {
  readonly premise: string;
  readonly hypothesis: string;
}

/** Probabilities of the three classes of natural language inference (MNLI, arXiv 1704.05426); they sum to 1. */
export interface Entailment {
  readonly entailment: number;
  readonly neutral: number;
  readonly contradiction: number;
}

/** Anything that says whether texts follow from each other: an NLI model, a prompted model, a rule. */
export interface Entailer {
  readonly name: string;
  /** One answer a request, in their order. */
  entail(requests: readonly EntailmentRequest[]): Promise<Entailment[]>;
}

/** What of two texts counts as the same meaning. */
export interface SemanticClustersOptions {
  /**
   * `entailment`: both follow from each other (algorithm 1). `no contradiction`: neither contradicts the other, and not both ways are neutral: so in the published code
   * where it is not strict, for entailers that are shy. Default `entailment`.
   */
  readonly equivalence?: 'entailment' | 'no contradiction';
  readonly signal?: AbortSignal;
}

/**
 * Clusters of texts with one meaning, as semantic entropy needs them (arXiv 2302.09664, algorithm 1): a text joins the first cluster whose
 * first text it entails and is entailed by, entailment being the most probable class both ways (or, by `equivalence`, that it does not contradict); else it begins one. The authors' code moves a text on to the
 * last cluster that it belongs to, where entailment is not transitive. Returns the number of each text's cluster, counted from 0. At most 2 questions for each text and cluster.
 */
export async function semanticClusters(
  texts: readonly string[],
  entailer: Entailer,
  { signal, equivalence = 'entailment' }: SemanticClustersOptions = {},
): Promise<number[]> {
  const first: string[] = [];
  const clusters: number[] = [];
  for (const text of texts) {
    signal?.throwIfAborted();
    const asked = first.flatMap((other) => [
      { premise: other, hypothesis: text },
      { premise: text, hypothesis: other },
    ]);
    const answers = asked.length === 0 ? [] : await entailer.entail(asked);
    const classes = answers.map(classOf);
    const isOne = (one: keyof Entailment, other: keyof Entailment) =>
      equivalence === 'entailment'
        ? one === 'entailment' && other === 'entailment'
        : one !== 'contradiction' && other !== 'contradiction' && (one === 'entailment' || other === 'entailment');
    const found = first.findIndex((_, i) => isOne(classes[2 * i]!, classes[2 * i + 1]!));
    clusters.push(found >= 0 ? found : first.push(text) - 1);
  }
  return clusters;
}

/** The most probable class; of equal ones the one that says less of two texts' being one. */
function classOf({ entailment, neutral, contradiction }: Entailment): keyof Entailment {
  if (contradiction >= Math.max(entailment, neutral)) return 'contradiction';
  return entailment > neutral ? 'entailment' : 'neutral';
}

/**
 * The entailer that knows nothing: a text follows from itself, white space and case aside, and otherwise is neutral. With it, semantic
 * entropy is the entropy of the texts.
 */
export const sameTextEntailer: Entailer = {
  name: 'same text',
  entail: async (requests) =>
    requests.map(({ premise, hypothesis }) => {
      const same = plain(premise) === plain(hypothesis);
      return { entailment: same ? 1 : 0, neutral: same ? 0 : 1, contradiction: 0 };
    }),
};

const plain = (text: string): string => text.trim().replace(/\s+/g, ' ').toLowerCase();
