import type { Sandbox } from '@posttrain/interfaces';
import {
  adaptiveConsistency,
  alphaLlm,
  autoCot,
  bestOfN,
  blockwiseControlledDecoding,
  bm25,
  budgetForcing,
  chainOfThought,
  chainOfVerification,
  coat,
  complexityBased,
  confidenceInformedSelfConsistency,
  confidenceSampling,
  confidenceTreeSearch,
  cotDecoding,
  debate,
  deepConf,
  deepConfOnline,
  deer,
  diverseVerifierTreeSearch,
  earlyStoppingSelfConsistency,
  forestOfThought,
  genSelect,
  gepa,
  graphOfThoughts,
  knockoutTournament,
  lats,
  leastToMost,
  lengthControl,
  liteSearch,
  majorityVote,
  mctSelfRefine,
  mcts,
  minimumBayesRisk,
  multiAgentTreeOfThoughts,
  mur,
  particleFiltering,
  programAided,
  qGuided,
  type RagOptions,
  rag,
  react,
  rebase,
  recursiveSelfAggregation,
  reflexion,
  regularizedBestOfN,
  restMcts,
  rStar,
  type Strategy,
  type StrategyOptions,
  scMcts,
  selfCertainty,
  selfPolish,
  selfRag,
  selfRefine,
  sequentialRevision,
  skeletonOfThought,
  softBestOfN,
  speculativeRejection,
  stepBeamSearch,
  superContext,
  swissTournament,
  type ThoughtValues,
  treeBon,
  treeOfThoughts,
  universalSelfConsistency,
  type VerifiedStrategyOptions,
  weightedBestOfN,
  zeroShotCot,
} from '../src/index.js';
import type { KitOptions } from '../src/testing/index.js';
import { reporting } from './doubles.js';

/** A strategy as the kit runs it. */
export interface StrategyRow {
  /** The strategy's name, and in which way it is run where there are several. */
  readonly name: string;
  readonly strategy: Strategy<StrategyOptions>;
  readonly optionsOf: (kit: KitOptions) => StrategyOptions;
  readonly kit: { readonly n?: number };
}

const rows: StrategyRow[] = [];
function add<Options extends StrategyOptions>(
  name: string,
  strategy: Strategy<Options>,
  optionsOf: (kit: KitOptions) => Options,
  kit: StrategyRow['kit'] = {},
): void {
  rows.push({ name, strategy: strategy as unknown as Strategy<StrategyOptions>, optionsOf, kit });
}

add('bestOfN', bestOfN, (kit) => kit);
add('weightedBestOfN', weightedBestOfN, (kit) => kit);
add('majorityVote', majorityVote, ({ verifier: _, ...kit }) => kit);
add('stepBeamSearch', stepBeamSearch, (kit) => ({ ...kit, beamWidth: 2, stop: ['\n'] }));
const echo: Sandbox = {
  ...{
    name: 'echo',
    languages: ['digits'],
    commands: false,
    probe: async () => ({ sandbox: 'echo', ok: true, checks: [] }),
  },
  run: async (job) => ({
    ...{ exitCode: 0, stoppedBy: null, stderr: '', stdoutTruncated: false, stderrTruncated: false, wallMs: 1 },
    stdout: 'code' in job ? job.code : '',
  }),
};
add('programAided', programAided, ({ verifier: _, ...kit }) => ({ ...kit, sandbox: echo }));
const few = { n: 3 };
const plain: Record<string, Strategy<StrategyOptions>> = {
  ...{ adaptiveConsistency, complexityBased, chainOfVerification, debate, earlyStoppingSelfConsistency, genSelect },
  ...{ knockoutTournament, leastToMost, recursiveSelfAggregation, selfPolish, selfRefine, skeletonOfThought },
  ...{ swissTournament, universalSelfConsistency, zeroShotCot },
  ...{ confidenceSampling, cotDecoding, deepConf, selfCertainty },
};
for (const [name, strategy] of Object.entries(plain)) {
  add(name, strategy, ({ verifier: _, ...kit }) => ({ ...kit, generator: reporting(kit.generator) }), few);
}
const judged: Record<string, Strategy<VerifiedStrategyOptions>> = {
  ...{ confidenceInformedSelfConsistency, sequentialRevision, softBestOfN, speculativeRejection },
  mur: (problem, options) => mur(problem, { ...options, stop: ['\n'] }),
  'sequentialRevision side by side': (problem, options) => sequentialRevision(problem, { ...options, chains: 3 }),
  regularizedBestOfN: (problem, options) => regularizedBestOfN(problem, { ...options, regularizer: 'kl', beta: 0.5 }),
};
for (const [name, strategy] of Object.entries(judged)) {
  add(name, strategy, (kit) => ({ ...kit, generator: reporting(kit.generator) }), few);
}
add('autoCot', autoCot, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, questions: ['a', 'b', 'c', 'd'], clusters: 2 },
  embedder: { name: 'places', embed: async (texts) => texts.map((_, i) => new Float32Array([i])) },
}));
add('budgetForcing', budgetForcing, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, maxThinkingTokens: 12, thinkingEnd: '\n' },
}));
add('blockwiseControlledDecoding', blockwiseControlledDecoding, (kit) => ({
  ...{ ...kit, sampling: { ...kit.sampling, maxTokens: 6 }, blockTokens: 2 },
}));
add('deer', deer, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, generator: reporting(kit.generator), maxThinkingTokens: 12, transitions: ['\n'], thinkingEnd: '.' },
}));
add('chainOfThought', chainOfThought, ({ verifier: _, ...kit }) => ({ ...kit, demonstrations: [] }));
add('deepConfOnline', deepConfOnline, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, generator: reporting(kit.generator), warmup: 2, together: 2, consensus: 1, window: 2, piece: 2 },
}));
add('knockoutTournament with a judge of pairs', knockoutTournament, ({ verifier, ...kit }) => ({
  ...kit,
  judge: {
    name: 'pairs',
    compare: async (requests) =>
      (await verifier.verify(requests.map(({ prompt, first }) => ({ prompt, completion: first })))).map(
        ({ score, usage }) => ({ winner: score! > 0.5 ? 'first' : 'second', ...(usage && { usage }) }),
      ),
  },
}));
add('lengthControl', lengthControl, ({ verifier: _, ...kit }) => ({ ...kit, targetTokens: 3 }));
add('minimumBayesRisk', minimumBayesRisk, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, utility: (a: string, b: string) => Number(a === b) },
}));
add('confidenceTreeSearch', confidenceTreeSearch, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, generator: reporting(kit.generator), width: 2, stop: ['\n'] },
}));
add('rebase', rebase, (kit) => ({ ...kit, stop: ['\n'] }));
add('mcts with rollouts', mcts, (kit) => ({ ...kit, width: 2, stop: ['\n'] }));
add('mcts with values', mcts, (kit) => ({
  ...kit,
  width: 3,
  stop: ['\n'],
  simulation: 'value' as const,
}));
add('mcts with priors', mcts, (kit) => ({
  ...{ ...kit, verifiers: { prior: kit.verifier }, policy: 'puct' as const, width: 2, stop: ['\n'] },
}));
add('stepBeamSearch with lookahead', stepBeamSearch, (kit) => ({
  ...{ ...kit, beamWidth: 3, stop: ['\n'], lookahead: 1 },
}));
add('diverseVerifierTreeSearch', diverseVerifierTreeSearch, (kit) => ({
  ...{ ...kit, beamWidth: 2, stop: ['\n'] },
}));
add('particleFiltering', particleFiltering, (kit) => ({
  ...{ ...kit, stop: ['\n'], verifiers: { outcome: kit.verifier } },
  ...{ resampling: 'systematic' as const, annealing: 'entropy' as const, essThreshold: 0.9 },
}));
const judges = ({ verifier }: KitOptions, ...roles: string[]) =>
  Object.fromEntries(roles.map((role) => [role, verifier]));
add('mctSelfRefine', mctSelfRefine, (kit) => ({
  ...{ ...kit, maxChildren: 1, feedbackPrompt: (answer) => `Faults of ${answer}` },
  refinePrompt: (answer, feedback) => `Better than ${answer}: ${feedback}`,
}));
add('restMcts', restMcts, (kit) => ({ ...kit, width: 2, rolloutWidth: 2, stop: ['\n'] }));
add('liteSearch', liteSearch, (kit) => ({ ...kit, minValue: 0.99, iterations: 6, stop: ['\n'] }));
add('treeBon', treeBon, (kit) => ({
  ...{ ...kit, layers: 2, children: 3, segmentTokens: 2, verifiers: judges(kit, 'outcome') },
}));
add('lats', lats, (kit) => ({
  ...{ ...kit, n: 3, width: 2, stop: ['\n'], verifiers: judges(kit, 'value') },
  reflectPrompt: (failed) => `Why not ${failed}`,
  memoryPrompt: (reflections) => `Remember ${reflections.join(' and ')}`,
}));
add('alphaLlm', alphaLlm, (kit) => ({
  ...{ ...kit, n: 3, minChildren: 1, maxChildren: 3, stop: ['\n'] },
  ...{ verifiers: judges(kit, 'process', 'outcome', 'prior'), generators: { fast: kit.generator } },
}));
add('scMcts', scMcts, (kit) => ({
  ...{ ...kit, n: 3, width: 2, stop: ['\n'], rewards: { a: 1, b: 2 }, verifiers: judges(kit, 'a', 'b') },
}));
add('qGuided', qGuided, (kit) => ({ ...kit, n: 2, stop: ['\n'] }));
add('rStar', rStar, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, n: 3, width: 1, votes: 3, masks: 2, maxDepth: 3, generators: { discriminator: kit.generator } },
  prompts: {
    'one-step': ({ steps }) => `Step ${steps.length}`,
    remaining: ({ question, steps }) => `Solve ${question} from ${steps.length}`,
    'sub-question': ({ steps }) => `Ask ${steps.map(({ text }) => text).join('')}`,
    'answer-again': ({ steps }) => `Again ${steps.length}`,
    rephrase: ({ question }) => `Say ${question}`,
  },
}));
add('graphOfThoughts', graphOfThoughts, (kit) => ({
  ...{ ...kit, keep: 3, aggregates: 2, refinements: 2, refinementWidth: 2 },
  aggregatePrompt: (thoughts) => `Together: ${thoughts.join(' ')}`,
  refinePrompt: (thought) => `Better: ${thought}`,
}));
const values: ThoughtValues = { method: 'value', prompt: (thoughts) => `How good: ${thoughts}`, parse: Number };
const thoughts = { steps: 3, stop: ['\n'], evaluations: 2 };
add('treeOfThoughts breadth-first with votes', treeOfThoughts, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, ...thoughts, n: 3, breadth: 2 },
  evaluation: {
    method: 'vote' as const,
    prompt: (states: readonly string[]) => `Which: ${states.join(', ')}`,
    parse: Number,
  },
}));
add('treeOfThoughts breadth-first with values', treeOfThoughts, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, ...thoughts, n: 3, breadth: 2, evaluation: values },
}));
add('treeOfThoughts best-first', treeOfThoughts, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, ...thoughts, n: 2, search: 'a-star' as const, thoughtCost: 0.1, outputs: 2, evaluation: values },
}));
add('multiAgentTreeOfThoughts', multiAgentTreeOfThoughts, (kit) => ({
  ...{ ...kit, ...thoughts, n: 2, breadth: 1, agents: 2, validity: 0.6, evaluation: values },
  feedbackPrompt: (rejected) => `Not so: ${rejected.map(({ text }) => text).join(' or ')}`,
}));
add('forestOfThought', forestOfThought, (kit) => ({
  ...{ ...kit, ...thoughts, n: 2, breadth: 1, trees: 3, correction: 2, evaluation: values },
  correctPrompt: (thoughts) => `Correct: ${thoughts}`,
}));
add('treeOfThoughts depth-first of proposals', treeOfThoughts, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, ...thoughts, search: 'dfs' as const, threshold: 0.5, outputs: 2, evaluation: values },
  proposePrompt: (thoughts) => `What next: ${thoughts}`,
}));

// The kit's digits are actions here: some of a tool, one the last.
const act = <Kit extends object>(kit: Kit) => ({
  ...kit,
  tools: { look: (argument: string) => `seen ${argument}` },
  parseAction: (step: string) =>
    /[01]$/.test(step.trim()) ? { tool: 'finish', argument: step.trim().at(-1)! } : { tool: 'look', argument: 'it' },
  maxSteps: 6,
});
add('react', react, ({ verifier: _, ...kit }) => act(kit));
add('reflexion', reflexion, (kit) => ({
  ...{ ...kit, ...act(kit), n: 3, verifier: kit.verifier },
  reflectPrompt: (trial) => `Why not ${trial}`,
  memoryPrompt: (reflections) => `Remember ${reflections.join(' and ')}`,
}));
add('coat', coat, ({ verifier: _, ...kit }) => ({ ...kit, n: 3, forcedReflections: 1 }));
const retriever = bm25([
  { id: 'a', text: 'one digit' },
  { id: 'b', text: 'two digits' },
]);
add('rag', rag, ({ verifier: _, ...kit }) => ({
  ...({ ...kit, retriever, k: 1, ragPrompt: (found) => `Read ${found[0]!.text}` } satisfies RagOptions),
}));
add('selfRag', selfRag, ({ verifier, ...kit }) => ({
  ...{ ...kit, n: 1, retriever, k: 2, stop: ['\n'], queryOf: (text) => `digit ${text}` },
  verifiers: { relevance: verifier, support: verifier, utility: verifier, retrieve: verifier },
}));

add('superContext', superContext, ({ verifier: _, ...kit }) => ({
  ...{ ...kit, n: 3, abstention: 'none', explain: true, demonstrations: [{ question: 'Which?', answer: '1' }] },
  generators: { small: reporting(kit.generator) },
}));
add('gepa', gepa, (kit) => ({
  ...{ ...kit, n: 5, train: ['a', 'b', 'c'].map((prompt) => ({ prompt })), minibatch: 2, components: { format: 'f' } },
}));

/** Every strategy, some in several ways. */
export const STRATEGIES: readonly StrategyRow[] = rows;
