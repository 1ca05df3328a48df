import type { Generator, Prompt, Sandbox } from '@posttrain/interfaces';
import {
  chainOfThought,
  chainOfVerification,
  coat,
  type Demonstration,
  debate,
  leastToMost,
  lengthControl,
  majorityVote,
  programAided,
  react,
  reasoningTriggers,
  type SearchResult,
  type StrategyOptions,
  selfPolish,
  selfRefine,
  type ThoughtValues,
  treeOfThoughts,
  universalSelfConsistency,
  zeroShotCot,
} from '@posttrain/tts';
import { answerOf, type Problem, renderExpression } from '../../pretrain-tiny/problem.js';
import { parseExpression } from './problems.js';

/** What every arm is given. */
export interface FormatSetting {
  readonly generator: Generator;
  readonly sandbox: Sandbox;
  /** Two training problems with their chains, for the arms that show some. */
  readonly demonstrations: readonly Demonstration[];
  readonly seed: number;
  readonly temperature: number;
}

/** A prompted strategy as the study runs it. */
export interface FormatArm {
  readonly run: (problem: Problem, setting: FormatSetting) => Promise<SearchResult>;
  /** Completions, agents, chains …: what the strategy's `n` is. */
  readonly n: number;
  /** How much of the corpus is its rows, beside one of the others. Default 1; 0: it asks nothing that others do not. */
  readonly share?: number;
}

const LONGEST = 90;
const chat = (content: string): Prompt => [{ role: 'user', content }];
const asked = (problem: Problem) => ({ prompt: chat(renderExpression(problem)) });
const drawn = ({ generator, seed, temperature }: FormatSetting, n: number): StrategyOptions & { n: number } => ({
  ...{ generator, n },
  sampling: { temperature, maxTokens: LONGEST, seed },
});

/** Values of states as the model was taught to give them. */
const sure = (problem: Problem): ThoughtValues => ({
  method: 'value',
  prompt: (thoughts) => chat(`${renderExpression(problem)}\nSo far: ${thoughts}\nIs it right?`),
  parse: (text) => (text.trim() === '1' ? 1 : text.trim() === '0' ? 0 : null),
});
const thoughts = (problem: Problem) => ({
  ...{ steps: problem.rest.length + 1, breadth: 2, evaluations: 1, evaluation: sure(problem) },
});

const arm = (
  n: number,
  run: (problem: Problem, setting: FormatSetting, n: number) => Promise<SearchResult>,
  share = 1,
): FormatArm => ({
  ...{ n, share },
  run: (problem, setting) => run(problem, setting, n),
});
const both = (name: string, counts: readonly [number, number], run: Parameters<typeof arm>[1], share?: number) =>
  counts.map((n, i) => [`${name} n=${n}`, arm(n, run, i === 0 ? share : 0)] as const);

const one = (name: string, run: Parameters<typeof arm>[1], share?: number) => [
  [`${name} n=1`, arm(1, run, share)] as const,
];

/** Every prompted strategy, on the model of its formats; those that vote or choose among texts with more of them, too. */
export const FORMAT_ARMS: Readonly<Record<string, FormatArm>> = Object.fromEntries([
  ...both('majorityVote', [1, 4], (problem, it, n) => majorityVote(asked(problem), drawn(it, n)), 3),
  ...one('chainOfThought', (problem, it, n) =>
    chainOfThought(asked(problem), { ...drawn(it, n), demonstrations: it.demonstrations }),
  ),
  ...both('zeroShotCot', [1, 4], (problem, it, n) => zeroShotCot(asked(problem), drawn(it, n))),
  ...one('planAndSolve', (problem, it, n) =>
    zeroShotCot(asked(problem), { ...drawn(it, n), trigger: reasoningTriggers['plan-and-solve'] }),
  ),
  ...one('leastToMost', (problem, it, n) => leastToMost(asked(problem), drawn(it, n)), 2),
  ...both('selfPolish', [1, 4], (problem, it, n) => selfPolish(asked(problem), drawn(it, n))),
  ...one('selfRefine', (problem, it, n) => selfRefine(asked(problem), { ...drawn(it, n), maxIterations: 2 }), 2),
  ...one('chainOfVerification', (problem, it, n) => chainOfVerification(asked(problem), drawn(it, n)), 2),
  ...one('programAided', (problem, it, n) =>
    programAided({ prompt: chat(`Program: ${renderExpression(problem)}`) }, { ...drawn(it, n), sandbox: it.sandbox }),
  ),
  ...one('react', (problem, it, n) =>
    react(
      { prompt: chat(`Calculator: ${renderExpression(problem)}`) },
      { ...drawn(it, n), tools: { calculate: (sum) => String(answerOf(parseExpression(sum))) }, maxSteps: 9 },
    ),
  ),
  ...both('debate', [2, 3], (problem, it, n) => debate(asked(problem), { ...drawn(it, n), rounds: 1 })),
  ...both('universalSelfConsistency', [2, 4], (problem, it, n) =>
    universalSelfConsistency(asked(problem), drawn(it, n)),
  ),
  ...both('treeOfThoughts (sample)', [2, 4], (problem, it, n) =>
    treeOfThoughts(asked(problem), { ...drawn(it, n), ...thoughts(problem), stop: [', '] }),
  ),
  ...both('treeOfThoughts (propose)', [2, 3], (problem, it, n) =>
    treeOfThoughts(asked(problem), {
      ...{ ...drawn(it, n), ...thoughts(problem) },
      proposePrompt: (soFar: string) => chat(`${renderExpression(problem)}\n${soFar}Next steps:`),
    }),
  ),
  ...one('coat', (problem, it, n) => coat({ prompt: chat(`Search: ${renderExpression(problem)}`) }, drawn(it, n))),
  [
    'coat, one reflection n=1',
    arm(1, (problem, it, n) =>
      coat({ prompt: chat(`Search: ${renderExpression(problem)}`) }, { ...drawn(it, n), forcedReflections: 1 }),
    ),
  ],
  ...[48, 80].map(
    (targetTokens) =>
      [
        `lengthControl ${targetTokens} n=1`,
        arm(1, (problem: Problem, it: FormatSetting, n: number) =>
          lengthControl(asked(problem), { ...drawn(it, n), targetTokens }),
        ),
      ] as const,
  ),
]);
