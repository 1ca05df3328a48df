import type { Generator, Verifier } from '@posttrain/interfaces';
import {
  adaptiveConsistency,
  alphaLlm,
  bestOfN,
  confidenceInformedSelfConsistency,
  confidenceSampling,
  deepConf,
  diverseVerifierTreeSearch,
  earlyStoppingSelfConsistency,
  liteSearch,
  majorityVote,
  mcts,
  minimumBayesRisk,
  type Problem,
  particleFiltering,
  qGuided,
  rebase,
  regularizedBestOfN,
  restMcts,
  type SearchResult,
  selfCertainty,
  softBestOfN,
  speculativeRejection,
  stepBeamSearch,
  treeBon,
  weightedBestOfN,
} from '@posttrain/tts';

/** What every arm is given: the same model, the same verifiers, the same sampling. */
export interface ArmSetting {
  readonly generator: Generator;
  /** Scores a whole text. */
  readonly outcome: Verifier;
  /** Scores a text at the end of any step. */
  readonly process: Verifier;
  readonly n: number;
  readonly seed: number;
  readonly maxTokens: number;
}

export type ArmFamily = 'samples' | 'trees';

/** A strategy as the study runs it. */
export interface Arm {
  readonly family: ArmFamily;
  readonly run: (problem: Problem, setting: ArmSetting) => Promise<SearchResult>;
}

/** A step of a worked solution ends so: `47+38=85, 85-19=66 #### 66`. */
const STOP = [', '];
/** Steps at most: three sums and the answer, and one to spare. */
const MAX_STEPS = 5;

const drawn = ({ generator, n, seed, maxTokens }: ArmSetting) => ({
  ...{ generator, n },
  sampling: { temperature: 1, maxTokens, seed },
});
const judged = (setting: ArmSetting) => ({ ...drawn(setting), verifier: setting.outcome });
const grown = (setting: ArmSetting) => ({ ...drawn(setting), verifier: setting.process, stop: STOP });
const agreement = (a: string, b: string) => Number(a.split('####')[1]?.trim() === b.split('####')[1]?.trim());

const samples = (run: Arm['run']): Arm => ({ family: 'samples', run });
const trees = (run: Arm['run']): Arm => ({ family: 'trees', run });

/** Every strategy that needs no prompt of its own, on the model's worked solutions. */
export const ARMS: Readonly<Record<string, Arm>> = {
  // The baseline of them all: one completion, the likeliest token each time, whatever the width.
  greedy: samples((problem, it) => {
    const { generator, maxTokens, seed } = it;
    return majorityVote(problem, { generator, n: 1, sampling: { temperature: 0, maxTokens, seed } });
  }),
  bestOfN: samples((problem, it) => bestOfN(problem, judged(it))),
  softBestOfN: samples((problem, it) => softBestOfN(problem, judged(it))),
  regularizedBestOfN: samples((problem, it) =>
    regularizedBestOfN(problem, { ...judged(it), regularizer: 'kl', beta: 0.01 }),
  ),
  weightedBestOfN: samples((problem, it) => weightedBestOfN(problem, judged(it))),
  majorityVote: samples((problem, it) => majorityVote(problem, drawn(it))),
  adaptiveConsistency: samples((problem, it) => adaptiveConsistency(problem, drawn(it))),
  earlyStoppingSelfConsistency: samples((problem, it) =>
    earlyStoppingSelfConsistency(problem, { ...drawn(it), window: 4 }),
  ),
  confidenceInformedSelfConsistency: samples((problem, it) => confidenceInformedSelfConsistency(problem, judged(it))),
  confidenceSampling: samples((problem, it) => confidenceSampling(problem, drawn(it))),
  selfCertainty: samples((problem, it) => selfCertainty(problem, drawn(it))),
  deepConf: samples((problem, it) => deepConf(problem, { ...drawn(it), topK: 5, window: 8, keep: 0.5 })),
  minimumBayesRisk: samples((problem, it) => minimumBayesRisk(problem, { ...drawn(it), utility: agreement })),
  speculativeRejection: samples((problem, it) => speculativeRejection(problem, { ...judged(it), piece: 14 })),
  stepBeamSearch: trees((problem, it) => stepBeamSearch(problem, { ...grown(it), maxSteps: MAX_STEPS })),
  lookahead: trees((problem, it) => stepBeamSearch(problem, { ...grown(it), maxSteps: MAX_STEPS, lookahead: 1 })),
  diverseVerifierTreeSearch: trees((problem, it) =>
    diverseVerifierTreeSearch(problem, { ...grown(it), maxSteps: MAX_STEPS }),
  ),
  rebase: trees((problem, it) => rebase(problem, { ...grown(it), maxSteps: MAX_STEPS })),
  particleFiltering: trees((problem, it) => particleFiltering(problem, { ...grown(it), maxSteps: MAX_STEPS })),
  mcts: trees((problem, it) => mcts(problem, { ...grown(it), width: 3, maxDepth: MAX_STEPS })),
  restMcts: trees((problem, it) => restMcts(problem, { ...grown(it), rolloutSteps: 1, maxDepth: MAX_STEPS })),
  alphaLlm: trees((problem, it) => alphaLlm(problem, { ...grown(it), maxChildren: 4, maxDepth: MAX_STEPS })),
  liteSearch: trees((problem, it) => liteSearch(problem, { ...grown(it), maxSteps: MAX_STEPS })),
  qGuided: trees((problem, it) => qGuided(problem, { ...grown(it), maxSteps: MAX_STEPS })),
  treeBon: trees(({ ...problem }, it) =>
    treeBon(problem, { ...drawn(it), verifier: it.process, layers: 3, children: 2, segmentTokens: 14 }),
  ),
};
