/** The world of the pipelines: letters of a ring in steps, in two scripts, with or without tags, and words that people like more or less. */
import type { Completion, PairJudge, Verifier } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { applyFilters, formatTags, functionVerifier, languageConsistency } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, LocalScorer, SequenceClassifier } from '@posttrain/lm';
import { type PolicyTrainingOptions, type PromptRow, policyObjectives, trainPolicy } from '@posttrain/rl';
import { rewardModelLosses, sft, trainRewardModel } from '@posttrain/training';
import { quiet, type SmallOptions, smallModel } from '../reward-models/small.js';

/** The letters of the ring, and what they are in the other script. */
const LATIN = [...'abcdefgh'];
const CYRILLIC = [...'абцдефгх'];
const STRIDES = [1, 2];
/** Letters of a solution. */
const LENGTH = 4;

const inLatin = (text: string) => [...text].map((one) => LATIN[CYRILLIC.indexOf(one)] ?? one).join('');

/** A prompt of one of the two kinds. */
export interface Task extends PromptRow {
  readonly prompt: string;
  readonly kind: 'reasoning' | 'general';
  /** The letters that lead to the answer, which is the last. */
  readonly steps: readonly string[];
}

/** From each letter in steps of 1 or 2: `a2:` asks for c, e, g, a. */
export const REASONING: readonly Task[] = LATIN.flatMap((letter, start) =>
  STRIDES.map((stride) => ({
    ...{ prompt: `${letter}${stride}:`, kind: 'reasoning' as const },
    steps: Array.from({ length: LENGTH }, (_, i) => LATIN[(start + (i + 1) * stride) % LATIN.length]!),
  })),
);
/** Prompts that any word answers, some better than others. */
export const GENERAL: readonly Task[] = LATIN.map((letter) => ({ prompt: `${letter};`, kind: 'general', steps: [] }));

const TAGS = /<\/?(?:think|answer)>/g;
const withoutTags = { name: 'tags', apply: (text: string) => text.replace(TAGS, '\n') };

/** Steps and an answer, with tags or without. */
const written = (steps: readonly string[], isFormatted: boolean): string =>
  isFormatted
    ? `<think>${steps.join('\n')}</think><answer>${steps.at(-1)}</answer>`
    : `${steps.join('\n')}\n${steps.at(-1)}`;

/** Whether the last letter is the answer, in whichever script and form. */
export const isRight = functionVerifier('right', ({ completion, row }) => {
  const letters = [...inLatin(applyFilters([withoutTags], completion) ?? '').replace(/\s/g, '')];
  return Number(letters.at(-1) === (row as unknown as Task).steps.at(-1));
});
export const isFormatted = formatTags();
export const isConsistent = languageConsistency({ scripts: ['Latin'], filters: [withoutTags] });

/** How much people like a word: the share of it that is c; what has anything else than letters is no word. */
export const worthOf = (text: string): number =>
  text === '' || /[^a-h]/.test(text) ? 0 : [...text].filter((one) => one === 'c').length / text.length;

export const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

export const wordOf = (random: Random, most = 5): string =>
  Array.from({ length: random.integer(2, most) }, () => random.pick(LATIN)).join('');

const size = (seed: number, options: SmallOptions = {}) =>
  smallModel(seed, `${CYRILLIC.join('')}123`, { words: ['<think>', '</think>', '<answer>', '</answer>'], ...options });

/** What a base model reads: solutions of which half are wrong and few have tags, and each letter is in either script; and words. */
export function corpus(count: number, seed: number): { prompt: string; completion: string }[] {
  const random = createRandom(seed, 'corpus');
  return Array.from({ length: count }, (_, i) => {
    if (i % 4 === 0) return { prompt: random.pick(GENERAL).prompt, completion: wordOf(random) };
    return solution(random, { wrong: 0.5, formatted: 0.1, cyrillic: 0.5 });
  });
}

/** A solution of a prompt that is drawn, by chance wrong from some step on, with tags, and in the other script. */
export function solution(
  random: Random,
  { wrong, formatted, cyrillic }: Readonly<Record<'wrong' | 'formatted' | 'cyrillic', number>>,
): { prompt: string; completion: string } {
  const { prompt, steps } = random.pick(REASONING);
  const from = random.float() < wrong ? random.integer(0, LENGTH - 1) : LENGTH;
  const slip = random.integer(1, 7);
  const letters = steps.map((step, i) => {
    const at = (LATIN.indexOf(step) + (i >= from ? slip : 0)) % LATIN.length;
    return random.float() < cyrillic ? CYRILLIC[at]! : LATIN[at]!;
  });
  return { prompt, completion: written(letters, random.float() < formatted) };
}

type Rows = readonly { readonly prompt: string; readonly completion: string }[];

/** Fine-tuned on rows. */
export async function tuned(model: CausalLM, rows: Rows, seed: number, { epochs = 1, learningRate = 3e-3 } = {}) {
  const { trainer } = await sft({ ...quiet, model, rows, seed, epochs, learningRate });
  return trainer.model as CausalLM;
}

/** A model of random weights that has read the corpus. */
export async function baseModel(seed: number, options: SmallOptions = {}): Promise<CausalLM> {
  return tuned(await size(seed, options), corpus(960, seed), seed, { epochs: 4, learningRate: 5e-3 });
}

/** Most tokens of a completion. */
export const LONGEST = 16;

/** A policy that has learnt from rewards, with what every step logged. */
export async function reinforced(
  given: Partial<PolicyTrainingOptions<Task>> &
    Pick<PolicyTrainingOptions<Task>, 'model' | 'rows' | 'rewards' | 'steps' | 'seed'>,
) {
  const { trainer, history } = await trainPolicy<Task>({
    ...{ objective: policyObjectives.grpo({ beta: 0.02 }), schedule: 'constant', loggingSteps: 1 },
    ...{ promptsPerStep: 6, completionsPerPrompt: 8, maxCompletionLength: LONGEST, learningRate: 2e-3 },
    ...{ onWarning: () => {}, ...given },
  });
  return { model: trainer.model as CausalLM, history };
}

/** A completion of a prompt. */
export interface Said extends Pick<Completion, 'text' | 'finishReason'> {
  readonly row: Task;
}

/** Completions of a model, `n` of each prompt. */
export async function said(model: CausalLM, rows: readonly Task[], n: number, seed: number): Promise<Said[]> {
  const found = await new LocalGenerator(model).generate(
    rows.map(({ prompt }, i) => ({ prompt, n, maxTokens: LONGEST, temperature: 1, seed: 100_000 * seed + 100 * i })),
  );
  return found.flatMap((all, i) => all.map(({ text, finishReason }) => ({ row: rows[i]!, text, finishReason })));
}

/** What a policy does: reasoning that is right, has the form, mixes scripts; and how much its words are liked. */
export async function measured(model: CausalLM, seed: number, n = 12) {
  const asked = (await said(model, REASONING, n, seed)).map(({ row, text }) => ({
    ...{ prompt: row.prompt, completion: text, row: row as unknown as Readonly<Record<string, unknown>> },
  }));
  const mean = async (verifier: Verifier) => meanOf((await verifier.verify(asked)).map(({ score }) => score!));
  const words = await said(model, GENERAL, 2 * n, seed + 50);
  return {
    right: await mean(isRight),
    format: await mean(isFormatted),
    mixed: 1 - (await mean(isConsistent)),
    helpful: meanOf(words.map(({ text }) => worthOf(text))),
  };
}

/** The mean −log p of a token of right solutions of the form, in Latin letters, in nats: fluency. */
export async function surprise(model: CausalLM): Promise<number> {
  const scores = await new LocalScorer(model).score(
    REASONING.map(({ prompt, steps }) => ({ prompt, continuation: written(steps, true) })),
  );
  const [sum, count] = scores.reduce<readonly [number, number]>(
    ([s, c], { logProb, tokens }) => [s - logProb, c + tokens],
    [0, 0],
  );
  return sum / count;
}

/** Pairs of words, of which people choose the better one, seldom the other. */
export function wordPairs(count: number, seed: number, worth: (text: string) => number = worthOf, most = 5) {
  const random = createRandom(seed, 'pairs');
  return Array.from({ length: count }, () => {
    const [a, b] = [wordOf(random, most), wordOf(random, most)];
    const isFirst = random.float() < 1 / (1 + Math.exp(-8 * (worth(a) - worth(b))));
    const [chosen, rejected] = isFirst ? [a, b] : [b, a];
    return { prompt: random.pick(GENERAL).prompt, chosen, rejected };
  });
}

/** A reward model of pairs, which begins as a policy. */
export async function rewardModel(policy: CausalLM, rows: ReturnType<typeof wordPairs>, seed: number, epochs = 4) {
  const loss = rewardModelLosses.bradleyTerry({ centerRewardsCoefficient: 0.01 });
  const { trainer } = await trainRewardModel({
    ...{ ...quiet, rows, loss, epochs, seed, learningRate: 3e-3 },
    model: await SequenceClassifier.fromCausalLM(policy, { labels: 1, seed }),
  });
  return trainer;
}

/** People, who say of two answers which is worth more. */
export const people = (worth: (text: string) => number): PairJudge => ({
  name: 'people',
  compare: async (requests) =>
    requests.map(({ first, second }) => {
      const gap = worth(first) - worth(second);
      return { winner: gap === 0 ? ('tie' as const) : gap > 0 ? ('first' as const) : ('second' as const) };
    }),
});
