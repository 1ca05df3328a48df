import {
  custom,
  type GenerateRequest,
  type Generator,
  type Given,
  integer,
  number,
  options,
  PosttrainError,
  type SamplingParams,
  showValue,
} from '@posttrain/interfaces';

/** A refined answer, and what it is worth. */
export interface MaltRefinement {
  readonly text: string;
  readonly reward: number;
}

/** A critique of an answer, and what was made of it. */
export interface MaltCritique {
  readonly text: string;
  readonly refinements: readonly MaltRefinement[];
}

/** An answer, and what was said of it. */
export interface MaltAnswer {
  readonly text: string;
  readonly critiques: readonly MaltCritique[];
}

/** A question with all that a generator, a verifier and a refiner have said to it. */
export interface MaltTree {
  readonly question: string;
  readonly answers: readonly MaltAnswer[];
}

/** What each role is asked: its prompt, of what was said before. */
export interface MaltPrompts {
  readonly generator: (question: string) => string;
  readonly verifier: (question: string, answer: string) => string;
  readonly refiner: (question: string, answer: string, critique: string) => string;
}

/** Who plays each role. */
export type MaltAgents = Readonly<Record<keyof MaltPrompts, Generator>>;

/** Rows for one role. */
export interface MaltRows {
  /** What is to be said, for `sft`. */
  readonly sft: readonly { readonly prompt: string; readonly completion: string }[];
  /** Better and worse to one prompt, for `dpo`. */
  readonly preferences: readonly { readonly prompt: string; readonly chosen: string; readonly rejected: string }[];
}

/** Nothing is said but what was there before, a line each. */
const plain: MaltPrompts = {
  generator: (question) => `${question}\n`,
  verifier: (question, answer) => `${question}\n${answer}\n`,
  refiner: (question, answer, critique) => `${question}\n${answer}\n${critique}\n`,
};

const prompts = custom<MaltPrompts>()(
  'three functions: { generator, verifier, refiner }',
  (value) => ['generator', 'verifier', 'refiner'].every((role) => typeof (value as never)?.[role] === 'function'),
  { default: plain },
);

const maltRowsOptions = options('maltRows', {
  /** θ: what is worth more is right. Default 0.5, as in the paper. */
  threshold: number({ default: 0.5 }),
  prompts,
});
/** Options of `maltRows`. */
export type MaltRowsOptions = Given<typeof maltRowsOptions>;

const maltTreeOptions = options('maltTree', {
  /** Who plays each role. */
  agents: custom<MaltAgents>()(
    'three generators: { generator, verifier, refiner }',
    (value) =>
      ['generator', 'verifier', 'refiner'].every(
        (role) => typeof (value as Partial<MaltAgents> | null)?.[role as keyof MaltPrompts]?.generate === 'function',
      ),
    {},
  ),
  /** What a refined answer is worth, 0 to 1. */
  reward: custom<(text: string, question: string) => number>()(
    'a function (text, question) => number',
    (value) => typeof value === 'function',
    {},
  ),
  /** n: how often each role is asked, so that there are n³ refined answers. Default 3, as in the paper. */
  branches: integer({ default: 3, min: 1 }),
  prompts,
  /** How all are sampled. Default: as the generators do. */
  sampling: custom<SamplingParams>()('settings of sampling', (value) => typeof value === 'object' && value !== null, {
    default: {},
  }),
  /** Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `maltTree`. */
export type MaltTreeOptions = Given<typeof maltTreeOptions>;

const mean = (values: readonly number[]): number => {
  if (values.length > 0) return values.reduce((a, b) => a + b, 0) / values.length;
  throw new PosttrainError('MALT', 'malt: a node of the tree has no children, and so no value');
};

/** V of a critique (arXiv 2412.01928): the mean reward of what was made of it. @throws PosttrainError MALT for one without refinements, or with a reward that is no number */
export const critiqueValue = ({ refinements }: MaltCritique): number =>
  mean(
    refinements.map(({ reward }) => {
      if (Number.isFinite(reward)) return reward;
      throw new PosttrainError('MALT', `malt: a refinement has the reward ${showValue(reward)}; it must be a number`);
    }),
  );

/** V of an answer: the mean value of its critiques. @throws PosttrainError MALT for one without critiques */
export const answerValue = ({ critiques }: MaltAnswer): number => mean(critiques.map(critiqueValue));

/**
 * The tree of MALT (arXiv 2412.01928, § 3): n answers to a question, n critiques of each, n refinements of each of these, whose reward is
 * known.
 *
 * @throws OptionError; PosttrainError MALT for a generator that gives fewer or more than it is asked for, and a reward that is no number; what
 *   the generators throw
 */
export async function maltTree(question: string, given: MaltTreeOptions): Promise<MaltTree> {
  const { agents, reward, branches: n, prompts: asked, sampling, seed } = maltTreeOptions.read(given);
  const ask = async (role: keyof MaltPrompts, texts: readonly string[], first: number): Promise<string[][]> => {
    const requests = texts.map((prompt, i): GenerateRequest => ({ ...sampling, prompt, n, seed: first + i * n }));
    const answered = await agents[role].generate(requests);
    const lists = requests.map((_, i) => answered[i] ?? []);
    const odd = lists.find(({ length }) => length !== n);
    if (odd) {
      const problem = `maltTree: the ${role} gave ${odd.length} completions of a prompt, and ${n} were asked for`;
      throw new PosttrainError('MALT', problem);
    }
    return lists.map((completions) => completions.map(({ text }) => text));
  };
  const worthOf = (text: string): number => {
    const worth = reward(text, question);
    if (Number.isFinite(worth)) return worth;
    throw new PosttrainError('MALT', `maltTree: the reward gave ${showValue(worth)}; it must be a number`);
  };
  const [answers] = (await ask('generator', [asked.generator(question)], seed)) as [string[]];
  const critiques = await ask(
    'verifier',
    answers.map((answer) => asked.verifier(question, answer)),
    seed + n,
  );
  const pairs = answers.flatMap((answer, i) => critiques[i]!.map((critique) => ({ answer, critique })));
  const refined = await ask(
    'refiner',
    pairs.map(({ answer, critique }) => asked.refiner(question, answer, critique)),
    seed + n + n * n,
  );
  return {
    question,
    answers: answers.map((text, i) => ({
      text,
      critiques: critiques[i]!.map((critique, j) => ({
        text: critique,
        refinements: refined[i * n + j]!.map((one) => ({ text: one, reward: worthOf(one) })),
      })),
    })),
  };
}

/** One who said something: to what, what, and what came of it. */
interface Said {
  readonly prompt: string;
  readonly text: string;
  readonly value: number;
}

/** Rows of what was said to prompts: the right ones, and each right one against each wrong one of its prompt. To say nothing is no row: trainers refuse it. */
function rowsOf(said: readonly Said[], threshold: number): MaltRows {
  const isRight = ({ value }: Said) => value > threshold;
  const spoken = said.filter(({ text }) => text !== '');
  const right = spoken.filter(isRight);
  const wrong = spoken.filter((one) => !isRight(one));
  const pairs = right.flatMap(({ prompt, text: chosen }) =>
    wrong
      .filter((one) => one.prompt === prompt && one.text !== chosen)
      .map(({ text: rejected }) => ({ prompt, chosen, rejected })),
  );
  const unique = <T extends object>(rows: readonly T[]): T[] => [
    ...new Map(rows.map((row) => [JSON.stringify(row), row])).values(),
  ];
  return {
    sft: unique(right.map(({ prompt, text }) => ({ prompt, completion: text }))),
    preferences: unique(pairs),
  };
}

/**
 * The credit of MALT (arXiv 2412.01928, § 3) as rows for each role: a refinement is worth its reward, a critique the mean of what was made of it, an answer the
 * mean of its critiques. Above the threshold it is right: rows of `sft`, and with every wrong one to the same prompt a pair for `dpo`. The paper
 * trains each role on the first, and verifier and refiner on the second afterwards. What was said twice is one row, and where nothing was said
 * there is none.
 *
 * @throws OptionError; PosttrainError MALT for a tree in which something has no children
 */
export function maltRows(
  trees: readonly MaltTree[],
  given: MaltRowsOptions = {},
): Readonly<Record<keyof MaltPrompts, MaltRows>> {
  const { threshold, prompts: asked } = maltRowsOptions.read(given);
  const answers = trees.flatMap(({ question, answers: own }) =>
    own.map((answer) => ({
      question,
      answer,
      prompt: asked.generator(question),
      text: answer.text,
      value: answerValue(answer),
    })),
  );
  const critiques = answers.flatMap(({ question, answer }) =>
    answer.critiques.map((critique) => ({
      ...{ question, answer, critique, text: critique.text, value: critiqueValue(critique) },
      prompt: asked.verifier(question, answer.text),
    })),
  );
  const refinements = critiques.flatMap(({ question, answer, critique }) =>
    critique.refinements.map(({ text, reward }) => ({
      ...{ text, value: reward, prompt: asked.refiner(question, answer.text, critique.text) },
    })),
  );
  return {
    generator: rowsOf(answers, threshold),
    verifier: rowsOf(critiques, threshold),
    refiner: rowsOf(refinements, threshold),
  };
}
