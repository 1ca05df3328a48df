/**
 * The author of the formats: a scripted generator that answers every prompt which the strategies ask, as the people of the corpus of
 * ../../pretrain-tiny would. It works sums out with a misconception that voting cannot mend, and is more often right about one step that it is asked
 * by itself: what a strategy can make of that is what the study asks. The rows that a model learns the formats from are what was asked and
 * answered when the strategies ran over this author on training problems (`rows.ts`), so that no prompt is written down twice.
 */
import type { GenerateRequest, Generator } from '@posttrain/interfaces';
import { extractFinalAnswer } from '@posttrain/interfaces/answers';
import { slipped, smallerFromLarger } from '../../pretrain-tiny/corpus.js';
import { answerOf, type Problem, type Random, renderExpression } from '../../pretrain-tiny/problem.js';
import { isBorrow, parseExpression, polished, renderStep, resultOf, type Step, writtenSteps } from './problems.js';

/** How often a step of a chain that borrows is done by the misconception, and another has a slip. */
export const MISCONCEPTION = 0.6;
export const SLIP = 0.06;
/** How often a step that is asked by itself, or a judgement, is wrong. */
export const ALONE_SLIP = 0.03;
/** How often a question that nothing is said about is answered without work, and how often that is right. */
export const BLURT = 0.2;
const BLURT_RIGHT = 0.4;

/** One thing that was asked and answered. */
export interface Said {
  readonly prompt: string;
  readonly prefix: string;
  readonly completion: string;
  /** It ended by itself, not at a stop string. */
  readonly ended: boolean;
}

const SUM = /^\d+(?:[+-]\d+)+$/;

/** Writes in every format. `random` decides where it errs. */
export class Author {
  readonly #random: Random;
  /** What it has set out to write after a prompt, of which a part was taken. */
  readonly #plans = new Map<string, string[]>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** All that it writes after the prompt and the prefix. */
  answer(prompt: string, prefix: string): string {
    if (SUM.test(prompt)) return this.#sum(prompt, prefix);
    const question = prompt.match(/\d+(?:[+-]\d+)+/g)?.[0] ?? '';
    const problem = parseExpression(question);
    if (prompt.startsWith('Program: ')) return program(problem);
    if (prompt.startsWith('Calculator: ')) return this.#act(problem, prefix);
    if (prompt.startsWith('Search: ')) return this.#planned(prompt, prefix, () => this.#coat(problem, prefix));
    if (prompt.startsWith('Q: ')) return this.#demonstrated(prompt);
    if (prompt.startsWith('Rewrite')) return renderExpression(polished(problem));
    const length = /Think for (\d+) tokens\.$/.exec(prompt);
    if (length) return this.#long(problem, Number(length[1]));
    if (/which simpler questions/.test(prompt)) return prefixes(problem).join('\n');
    if (/What is wrong with it/.test(prompt))
      return this.#criticize(between(prompt, 'An answer:\n', '\n\nWhat is wrong'));
    if (/Write the answer anew/.test(prompt)) return this.#refine(problem, prompt);
    if (/Write questions, one a line/.test(prompt)) {
      const steps = writtenSteps(between(prompt, '\n\nResponse: ', '\n\nWrite questions'));
      return (steps.length > 0 ? steps.map(({ step }) => expressionOf(step)) : [prefixes(problem)[0]!]).join('\n');
    }
    if (/Write the final response/.test(prompt)) return this.#revise(problem, prompt);
    if (/answers of other agents/.test(prompt)) return this.#debate(problem, prompt);
    if (/Which one agrees most/.test(prompt)) return mostCommon(prompt);
    if (/Is it right\?$/.test(prompt)) return this.#judge(prompt);
    if (/Next steps:$/.test(prompt)) return this.#propose(problem, prompt);
    if (/\nA:$/.test(prompt)) return this.#subquestion(problem, prompt);
    throw new Error(`the author knows no format of ${JSON.stringify(prompt)}`);
  }

  #isWrong(rate: number): boolean {
    return this.#random() < rate;
  }

  /** A step of a chain, as it comes. */
  #chained(step: Step): number {
    if (isBorrow(step) && this.#isWrong(MISCONCEPTION)) return smallerFromLarger(step.total, step.operand);
    return this.#isWrong(SLIP) ? this.#slip(resultOf(step)) : resultOf(step);
  }

  #alone(step: Step): number {
    return this.#isWrong(ALONE_SLIP) ? this.#slip(resultOf(step)) : resultOf(step);
  }

  #slip(result: number): number {
    for (;;) {
      const wrong = slipped(this.#random, result);
      if (wrong < 30) return wrong;
    }
  }

  /** Steps of the problem from a total, after so many of its terms. */
  #steps(problem: Problem, done = 0, from = problem.first, write = (step: Step) => this.#chained(step)) {
    let total = from;
    const steps = problem.rest.slice(done).map(({ operator, operand }) => {
      // A mistake can leave less than is to be taken away; the author then takes away what there is.
      const step = { total, operator, operand: operator === '-' ? Math.min(operand, total) : operand };
      const result = write(step);
      total = result;
      return renderStep(step, result);
    });
    return { steps, total };
  }

  #worked(problem: Problem): string {
    const { steps, total } = this.#steps(problem);
    return `${steps.join(', ')} #### ${total}`;
  }

  #sum(prompt: string, prefix: string): string {
    const problem = parseExpression(prompt);
    if (prefix.endsWith('Therefore, the answer is'))
      return ` ${writtenSteps(prefix).at(-1)?.result ?? answerOf(problem)}.`;
    if (prefix.startsWith("Let's")) {
      const { steps } = this.#steps(problem);
      const plan = problem.rest.map(({ operator, operand }) => `${operator}${operand}`).join(' ');
      return `${prefix.includes('plan') ? ` Plan: ${plan}.\n` : ' '}${steps.join(', ')}.`;
    }
    const done = writtenSteps(prefix);
    if (prefix !== '') {
      const { steps, total } = this.#steps(problem, done.length, done.at(-1)?.result);
      return `${steps.join(', ')} #### ${total}`;
    }
    if (problem.rest.length === 1) {
      const [{ operator, operand }] = problem.rest as [Problem['rest'][number]];
      return `#### ${this.#alone({ total: problem.first, operator, operand })}`;
    }
    if (!this.#isWrong(BLURT)) return this.#worked(problem);
    const answer = answerOf(problem);
    return `#### ${this.#isWrong(1 - BLURT_RIGHT) ? this.#slip(answer) : answer}`;
  }

  #demonstrated(prompt: string): string {
    const problem = parseExpression(prompt.slice(prompt.lastIndexOf('Q: ') + 3));
    const { steps, total } = this.#steps(problem);
    return ` ${steps.join(', ')}. The answer is ${total}.`;
  }

  /** The last `Q:` of the prompt, by what was answered before it where that is its beginning. */
  #subquestion(problem: Problem, prompt: string): string {
    const pairs = [...prompt.matchAll(/Q: (\S+)\nA:([^\n]*)/g)].map(([, asked, said]) => ({
      asked: asked!,
      said: said!,
    }));
    const { asked } = pairs.pop()!;
    const known = pairs.findLast((it) => asked.startsWith(it.asked));
    const of = asked === '' ? problem : parseExpression(asked);
    const done = known ? parseExpression(known.asked).rest.length : 0;
    const from = known ? Number(extractFinalAnswer(known.said) ?? of.first) : of.first;
    const { steps, total } = this.#steps(of, done, from, (step) => this.#alone(step));
    return steps.length === 0 ? ` #### ${total}` : ` ${steps.join(', ')} #### ${total}`;
  }

  #criticize(draft: string): string {
    const steps = writtenSteps(draft);
    if (steps.length === 0) return 'The steps are missing.';
    const wrong = steps.find(({ step, result }) => result !== resultOf(step));
    if (!wrong || this.#isWrong(ALONE_SLIP)) return 'DONE';
    return `${renderStep(wrong.step, wrong.result)} is wrong: ${renderStep(wrong.step, resultOf(wrong.step))}.`;
  }

  #refine(problem: Problem, prompt: string): string {
    const draft = prompt.slice(prompt.lastIndexOf('An answer:\n'), prompt.lastIndexOf('\n\nFeedback:'));
    const feedback = prompt.slice(prompt.lastIndexOf('Feedback:\n'));
    const mended = writtenSteps(feedback).at(-1);
    if (!mended) return this.#worked(problem);
    const before = writtenSteps(draft);
    const at = before.findIndex(({ step }) => expressionOf(step) === expressionOf(mended.step));
    if (at < 0) return this.#worked(problem);
    const kept = [...before.slice(0, at), mended].map(({ step, result }) => renderStep(step, result));
    const { steps, total } = this.#steps(problem, at + 1, mended.result);
    return `${[...kept, ...steps].join(', ')} #### ${total}`;
  }

  #revise(problem: Problem, prompt: string): string {
    const checked = new Map(
      [...between(prompt, 'What was checked:\n', '\n\nWrite the final').matchAll(/Q: (\S+)\nA: (.*)/g)].map(
        ([, asked, said]) => [asked!, extractFinalAnswer(said!)] as const,
      ),
    );
    const { steps, total } = this.#steps(problem, 0, problem.first, (step) => {
      const found = checked.get(expressionOf(step));
      return found === undefined || found === null ? this.#chained(step) : Number(found);
    });
    return `${steps.join(', ')} #### ${total}`;
  }

  #debate(problem: Problem, prompt: string): string {
    const said = between(prompt, 'Your answer:\n', '\n\nThese are').split(/\n\nAgent \d+:\n/);
    const right = said.find((it) => isSound(problem, it));
    return right !== undefined && !this.#isWrong(0.2) ? right : this.#worked(problem);
  }

  #judge(prompt: string): string {
    const steps = writtenSteps(prompt);
    const isRight = steps.length > 0 && steps.every(({ step, result }) => resultOf(step) === result);
    return isRight !== this.#isWrong(ALONE_SLIP) ? '1' : '0';
  }

  /** Ways to go on, each once. */
  #propose(problem: Problem, prompt: string): string {
    const done = writtenSteps(prompt);
    if (done.length >= problem.rest.length) return `#### ${done.at(-1)!.result}`;
    const one = () => this.#steps(problem, done.length, done.at(-1)?.result).steps[0]!;
    return [...new Set([one(), one(), one()])].join('\n');
  }

  #act(problem: Problem, prefix: string): string {
    const observed = [...prefix.matchAll(/Observation: (\d+)/g)].map(([, it]) => Number(it));
    const next = problem.rest[observed.length];
    const total = observed.at(-1) ?? problem.first;
    if (!next) return `Thought: That is all.\nAction: finish[${total}]`;
    // Impatience: the rest in the head, as a chain has it.
    if (this.#isWrong(0.05)) {
      return `Thought: I see.\nAction: finish[${this.#steps(problem, observed.length, total).total}]`;
    }
    const sum = `${total}${next.operator}${next.operand}`;
    return `Thought: ${observed.length === 0 ? 'First' : 'Then'} ${sum}.\nAction: calculate[${sum}]\nObservation:`;
  }

  /** What it has begun to write with this prefix goes on. */
  #planned(prompt: string, prefix: string, write: () => string): string {
    const begun = this.#plans.get(prompt)?.findLast((text) => text.startsWith(prefix) && text !== prefix);
    if (begun !== undefined && prefix !== '') return begun.slice(prefix.length);
    const text = write();
    this.#plans.set(prompt, [...(this.#plans.get(prompt) ?? []), prefix + text]);
    return text;
  }

  /** A chain with its meta-actions: mistakes are seen more often than not. */
  #coat(problem: Problem, prefix: string): string {
    if (prefix.endsWith('<|reflect|>')) {
      const parts = prefix.split(/<\|(?:continue|explore)\|>/).slice(1);
      const steps = parts.flatMap((part) => writtenSteps(part)[0] ?? []);
      const kept = steps.filter(
        ({ step }, i) => expressionOf(step) !== (steps[i + 1] && expressionOf(steps[i + 1]!.step)),
      );
      const at = kept.findIndex(({ step, result }) => result !== resultOf(step));
      if (at < 0) return `All is right #### ${extractFinalAnswer(prefix.replace(/<\|reflect\|>$/, ''))}`;
      const { step, result } = kept[at]!;
      const { steps: more, total } = this.#steps(problem, at + 1, resultOf(step));
      const rest = more.map((it) => `<|continue|>${it}`).join('');
      return `${renderStep(step, result)} is wrong<|explore|>${renderStep(step, resultOf(step))}${rest} #### ${total}`;
    }
    let total = problem.first;
    let text = '';
    for (const { operator, operand } of problem.rest) {
      const step = { total, operator, operand: operator === '-' ? Math.min(operand, total) : operand };
      const result = this.#chained(step);
      text += `<|continue|>${renderStep(step, result)}`;
      total = result;
      if (result === resultOf(step) || this.#isWrong(0.3)) continue;
      text += `<|reflect|>${renderStep(step, result)} is wrong<|explore|>${renderStep(step, resultOf(step))}`;
      total = resultOf(step);
    }
    return `${text} #### ${total}`;
  }

  /** A chain that is as long as was asked: its steps again, then points. */
  #long(problem: Problem, tokens: number): string {
    const { steps, total } = this.#steps(problem);
    // A character is a token, and the end one more.
    const answer = ` #### ${total}`;
    let room = tokens - answer.length - 1 - steps.join(', ').length;
    const shown = [...steps];
    for (let i = 0; room >= steps[i]!.length + 2; i = (i + 1) % steps.length) {
      room -= steps[i]!.length + 2;
      shown.push(steps[i]!);
    }
    return `${shown.join(', ')}${'.'.repeat(Math.max(0, room))}${answer}`;
  }
}

const expressionOf = ({ total, operator, operand }: Step): string => `${total}${operator}${operand}`;

/** The problem's beginnings, of two terms and more, without itself. */
const prefixes = ({ first, rest }: Problem): string[] =>
  rest.slice(0, -1).map((_, i) => renderExpression({ first, rest: rest.slice(0, i + 1) }));

const program = ({ first, rest }: Problem): string =>
  [`let a=${first};`, ...rest.map(({ operator, operand }) => `a=a${operator}${operand};`), 'print(a)'].join('\n');

function between(text: string, start: string, end: string): string {
  const from = text.indexOf(start) + start.length;
  return text.slice(from, text.indexOf(end, from));
}

/** Whether a text's steps are those of the problem, and right. */
const isSound = (problem: Problem, text: string): boolean => {
  const steps = writtenSteps(text);
  return (
    steps.length === problem.rest.length &&
    steps.every(({ step, result }) => result === resultOf(step)) &&
    Number(extractFinalAnswer(text)) === answerOf(problem)
  );
};

/** The number of the first response with the most common answer. */
function mostCommon(prompt: string): string {
  const responses = between(prompt, 'Response 1:\n', '\n\nMost of these').split(/\n\nResponse \d+:\n/);
  const answers = responses.map((it) => extractFinalAnswer(it));
  const count = (answer: string | null) => answers.filter((it) => it !== null && it === answer).length;
  const most = Math.max(...answers.map(count));
  return String(1 + answers.findIndex((answer) => count(answer) === most));
}

/** The author as a generator that keeps what it was asked and has answered. */
export function recordingAuthor(random: Random): { readonly generator: Generator; readonly said: Said[] } {
  const author = new Author(random);
  const said: Said[] = [];
  const write = (request: GenerateRequest) => {
    const prompt = request.prompt as readonly { readonly content: string }[];
    const { content } = prompt.at(-1)!;
    const prefix = request.prefix ?? '';
    const whole = author.answer(content, prefix);
    const places = (request.stop ?? []).map((stop) => ({ stop, at: whole.indexOf(stop) })).filter(({ at }) => at >= 0);
    const first = places.sort((a, b) => a.at - b.at)[0];
    const completion = first ? whole.slice(0, first.at + first.stop.length) : whole;
    said.push({ prompt: content, prefix, completion, ended: first === undefined });
    const text = first && request.includeStop !== true ? whole.slice(0, first.at) : completion;
    return {
      ...{ text, finishReason: 'stop' as const, stop: first?.stop ?? null },
      usage: { promptTokens: 1, completionTokens: 1 },
    };
  };
  return {
    said,
    generator: {
      name: 'author',
      generate: async (requests) =>
        requests.map((request) => Array.from({ length: request.n ?? 1 }, () => write(request))),
    },
  };
}
