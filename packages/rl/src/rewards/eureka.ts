import {
  type ChatMessage,
  custom,
  type Generator,
  type Given,
  integer,
  OptionError,
  options,
  type SamplingParams,
  text,
  type Verifier,
} from '@posttrain/interfaces';
import { codeBlocks } from '@posttrain/interfaces/answers';
import { createRandom } from '@posttrain/interfaces/random';
import { type CodeReward, codeReward, codeShape } from './code-reward.js';
import { RewardError } from './reward.js';

/** How good a reward is for the task. */
export interface RewardFitness {
  /** F: the task's own measure of a policy that has learnt from the reward; higher is better. */
  readonly score: number;
  /** What else the writer should know, in words. */
  readonly reflection?: string;
}

const isFunction = (value: unknown): boolean => typeof value === 'function';

const eurekaOptions = options('eureka', {
  ...codeShape,
  /** Who writes rewards; it is asked in a conversation. */
  generator: custom<Generator>()('a generator', (value) => isFunction((value as Generator | null)?.generate), {
    settings: ({ name }) => name,
  }),
  /** The task in words, and what the columns of its rows are. */
  task: text({}),
  /** F: learns from the reward (`trainPolicy`), and measures what came of it by the task itself. */
  fitness: custom<(reward: Verifier) => Promise<RewardFitness>>()('a function of a reward', isFunction, {}),
  /** N. Default 5, as in the paper. */
  iterations: integer({ default: 5, min: 1 }),
  /** K: rewards that are written in each. Default 16, as in the paper. */
  candidates: integer({ default: 16, min: 1 }),
  /** The program in what was written; `null`: none. Default: the last fenced block. */
  extractProgram: custom<(completion: string) => string | null>()('a function of a text', isFunction, {
    default: lastFenced,
  }),
  /** How the writer samples; its seeds are drawn. Default: at most 2,048 tokens, at temperature 1. */
  sampling: custom<SamplingParams>()(
    'an object of sampling parameters',
    (value) => typeof value === 'object' && value !== null,
    { default: { maxTokens: 2048, temperature: 1 } },
  ),
  /** Of the samples. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `eureka`. */
export type EurekaOptions = Given<typeof eurekaOptions>;

/** A reward that was written. */
export interface EurekaCandidate {
  readonly iteration: number;
  /** `null` where there was no program. */
  readonly code: string | null;
  /** F; `null` where the program failed. */
  readonly score: number | null;
  /** What was said of it: how its components went, or why it failed. */
  readonly reflection: string;
}

/** What `eureka` found. */
export interface EurekaResult {
  readonly code: string;
  readonly score: number;
  readonly reward: CodeReward;
  /** All, as they were written. */
  readonly candidates: readonly EurekaCandidate[];
}

const RULES = `You write the reward that a policy learns from. Answer with one fenced block of JavaScript that defines

function reward(prompt, completion, row) { return { part: 0, anotherPart: 0 }; }

It returns numbers by name, which are added up. It must finish for any completion.`;

const REVISE =
  'Say what the numbers show of each part (one that does not change teaches nothing, a large one hides the others), then write a better reward.';

/**
 * Eureka (arXiv 2310.12931, algorithm 1): rewards are programs that a language model writes and evolves. In each of N iterations K are sampled; each is given to
 * `fitness`, which learns from it and measures by the task; the best of the iteration is shown to the writer with a reflection (the task's score, and least, mean
 * and most of each component over ten parts of the learning), and the next iteration changes it. What is best of all is given. Programs run in the sandbox only
 * (`codeReward`); one that fails there has no score, and the writer of an iteration in which all fail is asked anew.
 *
 * @throws OptionError; RewardError where no program of any iteration ran; what the generator, the sandbox and `fitness` throw
 */
export async function eureka(given: EurekaOptions): Promise<EurekaResult> {
  const read = eurekaOptions.read(given);
  const { generator, task, fitness, iterations, candidates, extractProgram, sampling, seed, sandbox, limits } = read;
  const random = createRandom(seed, 'eureka');
  const tried: EurekaCandidate[] = [];
  let shown: readonly ChatMessage[] = [];
  for (let iteration = 0; iteration < iterations; iteration++) {
    const prompt: ChatMessage[] = [{ role: 'system', content: RULES }, { role: 'user', content: task }, ...shown];
    const [written] = await generator.generate([{ ...sampling, prompt, n: candidates, seed: random.uint32() }]);
    let best: EurekaCandidate | undefined;
    for (const completion of written!) {
      const code = extractProgram(completion.text);
      const candidate: EurekaCandidate = {
        ...{ iteration, code },
        ...(code === null
          ? { score: null, reflection: 'There is no program.' }
          : await measured(codeReward({ sandbox, limits, code }), fitness)),
      };
      tried.push(candidate);
      if (candidate.score !== null && (best === undefined || candidate.score > best.score!)) best = candidate;
    }
    if (best) {
      shown = [
        { role: 'assistant', content: `\`\`\`javascript\n${best.code}\n\`\`\`` },
        { role: 'user', content: `${best.reflection}\n${REVISE}` },
      ];
    }
  }
  const ran = tried.filter(({ score }) => score !== null);
  if (ran.length === 0) {
    throw new RewardError(
      'eureka',
      `has no program that ran, of ${tried.length}; the last: ${tried.at(-1)?.reflection}`,
    );
  }
  const best = ran.reduce((a, b) => (b.score! > a.score! ? b : a));
  const reward = codeReward({ sandbox, limits, code: best.code! });
  return { code: best.code!, score: best.score!, reward, candidates: tried };
}

/** The fitness of a program, and what is said of it. */
async function measured(reward: CodeReward, fitness: (reward: Verifier) => Promise<RewardFitness>) {
  const seen: Readonly<Record<string, number>>[] = [];
  let failure: RewardError | undefined;
  const watched: Verifier = {
    name: 'eureka',
    async verify(requests) {
      try {
        const verdicts = await reward.verify(requests);
        seen.push(...verdicts.map(({ components }) => components));
        return verdicts;
      } catch (error) {
        if (error instanceof RewardError) failure = error;
        throw error;
      }
    },
  };
  try {
    const { score, reflection } = await fitness(watched);
    const lines = [`Score of the task: ${score}.`, ...reflectionOf(seen), ...(reflection ? [reflection] : [])];
    if (!Number.isFinite(score)) {
      const problem = `fitness gave the score ${score}; it must give { score } with a finite number.`;
      throw new OptionError('INVALID_OPTION', 'eureka', 'fitness', problem);
    }
    return { score, reflection: lines.join('\n') };
  } catch (error) {
    // What is the fault of the program is no fault of the search.
    if (!failure) throw error;
    return { score: null, reflection: failure.message };
  }
}

const PARTS = 10;

/** Least, mean and most of each component, over ten parts of what was asked. */
function reflectionOf(seen: readonly Readonly<Record<string, number>>[]): string[] {
  const parts = Math.min(PARTS, seen.length);
  return [...new Set(seen.flatMap(Object.keys))].map((name) => {
    const shares = Array.from({ length: parts }, (_, part) =>
      seen
        .slice(Math.floor((part * seen.length) / parts), Math.floor(((part + 1) * seen.length) / parts))
        .flatMap((components) => components[name] ?? []),
    ).filter((values) => values.length > 0);
    const means = shares.map((values) => (values.reduce((a, b) => a + b, 0) / values.length).toPrecision(3));
    const all = shares.flat();
    return `${name}: ${means.join(', ')} (least ${Math.min(...all)}, most ${Math.max(...all)})`;
  });
}

/** What the last fenced block holds; null where there is none. */
function lastFenced(completion: string): string | null {
  return codeBlocks(completion).at(-1)?.code ?? null;
}
