/**
 * The procedurally generated corpus the tiny base model is pretrained on: short "web-like" documents with drills,
 * worked examples, word problems, prose and a few chat logs. Their authors make mistakes at a known rate, so a model
 * of this corpus knows arithmetic imperfectly, and answers chats in a style that is rarely the wanted one.
 *
 * Everything is a function of the seed. No document contains a held-out problem (`isHeldOut`).
 */
import {
  applyStep,
  mulberry32,
  type Operator,
  type Problem,
  type Random,
  randomProblem,
  renderExpression,
} from './problem.js';

/** Ends every document; a token of its own (see tokenizer/). */
export const DOCUMENT_END = '<|endoftext|>';

/** Probability that the result of one step is written down wrong by a slip (`slipped`). */
export const SLIP_RATE = 0.1;

/**
 * Probability that a subtraction with a borrow is done by the misconception instead (`smallerFromLarger`), so that
 * the most frequent answer of the corpus to such a step is wrong: voting cannot mend it, training can.
 */
export const MISCONCEPTION_RATE = 0.5;

/** Shares of the document kinds, by number of documents. */
export const MIXTURE = { drill: 0.4, worked: 0.34, story: 0.08, prose: 0.06, chat: 0.12 } as const;

export type DocumentKind = keyof typeof MIXTURE;

const NAMES = ['Ann', 'Ben', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus', 'Hana', 'Ivo', 'Joy', 'Kim', 'Leo'] as const;
const THINGS = ['apples', 'books', 'coins', 'cards', 'eggs', 'pens', 'shells', 'stamps', 'stones', 'toys'] as const;
const PLACES = ['the park', 'the shop', 'the old mill', 'the lake', 'school', 'the market', 'a small farm'] as const;
const ADJECTIVES = ['red', 'big', 'quiet', 'kind', 'cold', 'bright', 'slow', 'young', 'tired', 'happy'] as const;
const ANIMALS = ['dog', 'cat', 'bird', 'horse', 'fox', 'goat', 'fish', 'hen', 'mouse', 'cow'] as const;
const VERBS = ['saw', 'liked', 'found', 'followed', 'painted', 'fed', 'lost', 'met', 'heard', 'called'] as const;

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

/** A result with a slip of the pen: one or ten off, reversed digits, or a wrong last digit. Never the right one. */
export function slipped(random: Random, result: number): number {
  for (;;) {
    const kind = random();
    let wrong: number;
    if (kind < 0.4) wrong = result + (random() < 0.5 ? 1 : -1);
    else if (kind < 0.7) wrong = result + (random() < 0.5 ? 10 : -10);
    else if (kind < 0.8) wrong = Number([...String(result)].reverse().join(''));
    else wrong = result - (result % 10) + Math.floor(random() * 10);
    if (wrong !== result && wrong >= 0) return wrong;
  }
}

/**
 * `total - operand` by the commonest subtraction bug of schoolchildren (Brown & Burton 1978, "smaller from larger"):
 * in each column the smaller digit is taken from the larger one, so 85-19=74. Right when nothing is borrowed.
 */
export function smallerFromLarger(total: number, operand: number): number {
  let result = 0;
  for (let place = 1; place <= total; place *= 10) {
    const upper = Math.floor(total / place) % 10;
    const lower = Math.floor(operand / place) % 10;
    result += Math.abs(upper - lower) * place;
  }
  return result;
}

/** The result of a step as a fallible author writes it. */
function written(random: Random, total: number, operator: Operator, operand: number): number {
  const result = applyStep(total, operator, operand);
  if (operator === '-' && random() < MISCONCEPTION_RATE) return smallerFromLarger(total, operand);
  return random() < SLIP_RATE ? slipped(random, result) : result;
}

/** Steps of a worked example by a fallible author: a mistake is carried on into the later steps. */
function workedSteps(random: Random, problem: Problem): { steps: string[]; answer: number } {
  let total = problem.first;
  const steps: string[] = [];
  for (const { operator, operand } of problem.rest) {
    // A mistake can leave less than is to be taken away; the author then takes away what there is.
    const taken = operator === '-' ? Math.min(operand, total) : operand;
    const next = written(random, total, operator, taken);
    steps.push(`${total}${operator}${taken}=${next}`);
    total = next;
  }
  return { steps, answer: total };
}

function drill(random: Random): string {
  const separator = pick(random, [', ', '\n', '; ', ' ']);
  const count = 4 + Math.floor(random() * 8);
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const { first, rest } = randomProblem(random, 2, 199);
    const { operator, operand } = rest[0]!;
    lines.push(`${first}${operator}${operand}=${written(random, first, operator, operand)}`);
  }
  const title = random();
  return (title < 0.1 ? 'Sums: ' : title < 0.2 ? 'Homework\n' : '') + lines.join(separator);
}

/** A problem the corpus may show: never a held-out one. */
const corpusProblem = (random: Random): Problem => randomProblem(random, random() < 0.5 ? 3 : 4, 99, 'train');

function worked(random: Random): string {
  const count = 1 + Math.floor(random() * 3);
  const style = Math.floor(random() * 5);
  const blocks: string[] = [];
  for (let i = 0; i < count; i++) {
    const problem = corpusProblem(random);
    const expression = renderExpression(problem);
    const { steps, answer } = workedSteps(random, problem);
    if (style === 0) blocks.push(`${expression}: ${steps.join(', ')}, so ${answer}.`);
    else if (style === 1) blocks.push(`Q: ${expression}? A: ${steps.join(', ')}. It is ${answer}.`);
    else if (style === 2) blocks.push(`${expression}\n${steps.join('\n')}\n= ${answer}`);
    else if (style === 3) blocks.push(`How much is ${expression}? First ${steps.join(', then ')}. ${answer}!`);
    else blocks.push(`${expression}= ${steps.join('; ')} -> ${answer}`);
  }
  return blocks.join('\n');
}

function story(random: Random): string {
  const name = pick(random, NAMES);
  const thing = pick(random, THINGS);
  const { first, rest } = randomProblem(random, 2, 99);
  const { operator, operand } = rest[0]!;
  const answer = written(random, first, operator, operand);
  const change =
    operator === '+'
      ? pick(random, [`${name} finds ${operand} more`, `A friend brings ${operand} more`])
      : pick(random, [`${name} loses ${operand}`, `${name} sells ${operand}`]);
  return `${name} has ${first} ${thing}. ${change}. ${first}${operator}${operand}=${answer}, so ${name} has ${answer} ${thing}.`;
}

function prose(random: Random): string {
  const count = 1 + Math.floor(random() * 3);
  const sentences: string[] = [];
  for (let i = 0; i < count; i++) {
    sentences.push(
      random() < 0.5
        ? `${pick(random, NAMES)} ${pick(random, VERBS)} a ${pick(random, ADJECTIVES)} ${pick(random, ANIMALS)} at ${pick(random, PLACES)}.`
        : `The ${pick(random, ADJECTIVES)} ${pick(random, ANIMALS)} ${pick(random, VERBS)} the ${pick(random, ANIMALS)} near ${pick(random, PLACES)}.`,
    );
  }
  return sentences.join(' ');
}

/** Chat logs: people who mostly blurt out an answer; one in seven shows the work and marks the answer. */
function chat(random: Random): string {
  if (random() < 0.25) {
    const name = pick(random, NAMES);
    return `<|user|>Hello, I am ${name}.<|end|><|assistant|>Hello ${name}!<|end|>`;
  }
  const problem = corpusProblem(random);
  const { steps, answer } = workedSteps(random, problem);
  const guess = random() < 0.5 ? answer : slipped(random, answer);
  const style = random();
  const reply =
    style < 0.4
      ? `${guess}`
      : style < 0.6
        ? `It is ${guess}.`
        : style < 0.8
          ? `${pick(random, ['Sorry, no idea.', 'Why do you ask?', 'Use a calculator.'])}`
          : style < 0.85
            ? `#### ${guess}`
            : `${steps.join(', ')} #### ${answer}`;
  return `<|user|>${renderExpression(problem)}<|end|><|assistant|>${reply}<|end|>`;
}

const WRITERS: Readonly<Record<DocumentKind, (random: Random) => string>> = { drill, worked, story, prose, chat };

/** One document of the corpus, without `DOCUMENT_END`. */
export function writeDocument(random: Random): string {
  let share = random();
  for (const kind of Object.keys(MIXTURE) as DocumentKind[]) {
    share -= MIXTURE[kind];
    if (share < 0) return WRITERS[kind](random);
  }
  return WRITERS.chat(random);
}

/** An endless stream of documents, each followed by `DOCUMENT_END`; the same for the same seed. */
export function* documents(seed: number): Generator<string, never> {
  const random = mulberry32(seed);
  for (;;) yield writeDocument(random) + DOCUMENT_END;
}
