import type { Generator, Verifier } from '@posttrain/interfaces';
import {
  adaptiveConsistency,
  alphaLlm,
  bestOfN,
  blockwiseControlledDecoding,
  budgetForcing,
  complexityBased,
  confidenceInformedSelfConsistency,
  confidenceSampling,
  confidenceTreeSearch,
  cotDecoding,
  deepConf,
  deepConfOnline,
  deer,
  diverseVerifierTreeSearch,
  earlyStoppingSelfConsistency,
  forestOfThought,
  knockoutTournament,
  lats,
  liteSearch,
  majorityVote,
  mcts,
  minimumBayesRisk,
  mur,
  type Problem,
  particleFiltering,
  qGuided,
  rebase,
  regularizedBestOfN,
  restMcts,
  type SearchResult,
  scMcts,
  selfCertainty,
  softBestOfN,
  speculativeRejection,
  stepBeamSearch,
  swissTournament,
  treeBon,
  weightedBestOfN,
} from '@posttrain/tts';
import { comparing, lastStep, writing } from './judges.js';

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
/** What comes before the answer, and tokens that are enough of it. */
const MARK = ' ####';
const ANSWER_TOKENS = 8;
/** Tokens of a piece: a step and a half. */
const PIECE = 14;
/** What a strategy would ask a model for in words, which this one does not read. */
const unasked = (): string => '';

const drawn = ({ generator, n, seed, maxTokens }: ArmSetting) => ({
  ...{ generator, n },
  sampling: { temperature: 1, maxTokens, seed },
});
const judged = (setting: ArmSetting) => ({ ...drawn(setting), verifier: setting.outcome });
const grown = (setting: ArmSetting) => ({ ...drawn(setting), verifier: setting.process, stop: STOP });
const thinking = ({ maxTokens }: ArmSetting) => ({
  ...{ maxThinkingTokens: maxTokens, thinkingEnd: MARK, answerPrefix: ' ', answerTokens: ANSWER_TOKENS },
});
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
  speculativeRejection: samples((problem, it) => speculativeRejection(problem, { ...judged(it), piece: PIECE })),
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
    treeBon(problem, { ...drawn(it), verifier: it.process, layers: 3, children: 2, segmentTokens: PIECE }),
  ),
  // Those that follow were added to a study that had been run: see run.ts, --into.
  complexityBased: samples((problem, it) =>
    complexityBased(problem, { ...drawn(it), complexity: (text) => text.split('=').length - 1 }),
  ),
  // A path ends before its answer, which is then asked for: the mark stands once in the text.
  cotDecoding: samples((problem, it) => {
    const { sampling, ...rest } = drawn(it);
    const path = { ...rest, sampling: { ...sampling, stop: [MARK] } };
    return cotDecoding(problem, { ...path, answerPrompt: `${MARK} `, answerTokens: ANSWER_TOKENS });
  }),
  deepConfOnline: samples((problem, it) =>
    deepConfOnline(problem, {
      ...{ ...drawn(it), topK: 5, window: 8, keep: 0.5, piece: PIECE },
      ...{ warmup: it.n / 2, together: it.n / 4 },
    }),
  ),
  // A chain that would end is made to write one more step.
  budgetForcing: samples((problem, it) => budgetForcing(problem, { ...drawn(it), ...thinking(it), wait: STOP[0]! })),
  deer: samples((problem, it) =>
    deer(problem, {
      ...{ ...drawn(it), ...thinking(it), transitions: STOP },
      ...{ answerInducer: `${MARK} `, trialEnd: ['\n'], trialTokens: ANSWER_TOKENS },
    }),
  ),
  knockoutTournament: samples((problem, it) =>
    knockoutTournament(problem, { ...drawn(it), judge: comparing(it.outcome), comparisons: 1 }),
  ),
  swissTournament: samples((problem, it) =>
    swissTournament(problem, { ...drawn(it), judge: comparing(it.outcome), comparisons: 1 }),
  ),
  blockwiseControlledDecoding: trees((problem, it) =>
    blockwiseControlledDecoding(problem, { ...drawn(it), verifier: it.process, blockTokens: PIECE }),
  ),
  mur: trees((problem, it) => mur(problem, { ...grown(it), maxSteps: MAX_STEPS })),
  scMcts: trees((problem, it) =>
    scMcts(problem, {
      ...{ ...grown(it), width: 3, maxDepth: MAX_STEPS, rewards: { all: 1, last: 1 } },
      verifiers: { all: it.process, last: lastStep(it.process) },
    }),
  ),
  // Without its reflections, which this model does not write: values by the verifier and by siblings of the same text.
  lats: trees((problem, it) =>
    lats(problem, {
      ...{ ...grown(it), width: 3, maxDepth: MAX_STEPS, verifiers: { value: it.process } },
      ...{ maxReflections: 0, reflectPrompt: unasked, memoryPrompt: unasked },
    }),
  ),
  confidenceTreeSearch: trees((problem, it) =>
    confidenceTreeSearch(problem, { ...drawn(it), width: 3, stop: STOP, maxDepth: MAX_STEPS, minConfidence: 0.2 }),
  ),
  // Values of thoughts by the verifier, as an evaluator that writes them; three trees of half the width, and no corrections.
  forestOfThought: trees((problem, it) =>
    forestOfThought(problem, {
      ...{ ...grown(it), n: it.n / 2, steps: MAX_STEPS, breadth: 1, evaluations: 1, trees: 3 },
      generators: { evaluator: writing(it.process) },
      evaluation: { method: 'value', prompt: (thoughts) => thoughts, parse: Number },
    }),
  ),
};
