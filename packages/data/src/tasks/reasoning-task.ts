import { custom, type Given, integer, type Option, options } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';
import { canonicalJson } from '../stable-hash.js';
import { drawFrom, endsOf, type IntegerRange, type ProceduralTask, rangeWithin } from './procedural-task.js';

/** A procedural task with reasoning-gym's protocol: answers get a score, and difficulty is set attribute by attribute. */
export interface ReasoningTask<Problem extends object = object, Attribute extends string = string>
  extends ProceduralTask<Problem> {
  /** 1 for an answer that is right, something below 1 for every other; `null` is no answer, and 0. Never throws. */
  scoreAnswer(problem: Problem, answer: string | null): number;
  /** What the attributes of its problems are drawn from. */
  readonly settings: Readonly<Record<Attribute, readonly [number, number]>>;
}

/** `level`: the place of every attribute that is not given in its list of levels, from 0, the default. Attributes: a whole number or a range. */
export type ReasoningTaskOptions<Attribute extends string = string> = {
  readonly level?: number;
} & { readonly [A in Attribute]?: IntegerRange };

/** Makes a task of some difficulty. */
export interface ReasoningTaskMaker<Problem extends object = object, Attribute extends string = string> {
  (given?: ReasoningTaskOptions<Attribute>): ReasoningTask<Problem, Attribute>;
  /** The task's name, which is reasoning-gym's where that has the task. */
  readonly taskName: string;
  /** Levels of each attribute, easiest first; all attributes have as many. */
  readonly attributes: Readonly<Record<Attribute, readonly number[]>>;
}

/** What a task says of itself; the rest is the same in all of them. */
export interface ReasoningTaskSpec<Problem extends object, Attribute extends string> {
  readonly name: string;
  readonly attributes: Readonly<Record<Attribute, readonly number[]>>;
  /** A problem, from random numbers and a value of each attribute. A plain JSON object. */
  make(random: Random, at: Readonly<Record<Attribute, number>>): Problem;
  question(problem: Problem): string;
  /** An answer that is right. */
  answer(problem: Problem): string;
  /** Score of an answer that is not word for word `answer`; surrounding white space is taken off. Default: 0. */
  score?(problem: Problem, answer: string): number | boolean;
  /** Equal for problems that are the same up to order. Default: the problem without its `solution`. */
  key?(problem: Problem): string;
}

/** The last text between answer tags, as reasoning-gym's `extract_answer`; `null` where there is none, or an empty one. */
export function taggedAnswer(completion: string): string | null {
  const end = completion.lastIndexOf('</answer>');
  const start = end < 0 ? -1 : completion.lastIndexOf('<answer>', end);
  const found = start < 0 ? '' : completion.slice(start + '<answer>'.length, end).trim();
  return found === '' ? null : found;
}

/**
 * A family of tasks with the protocol of reasoning-gym (arXiv 2505.24760): a problem is a function of seed and index; a completion gives its answer
 * in `<answer>…</answer>`; `scoreAnswer` is in [0, 1], and 1 for right answers only. An answer that merely contains the right one gets nothing,
 * where reasoning-gym's default gives it the share of its length.
 */
export function reasoningTask<Problem extends object, Attribute extends string>(
  spec: ReasoningTaskSpec<Problem, Attribute>,
): ReasoningTaskMaker<Problem, Attribute> {
  const names = Object.keys(spec.attributes) as Attribute[];
  const levels = Math.min(...names.map((name) => spec.attributes[name].length));
  const shape = {
    /** Place in the list of levels of every attribute that is not given. Default 0. */
    level: integer({ default: 0, min: 0, max: levels - 1 }),
    ...Object.fromEntries(names.map((name) => [name, attributeOption(spec.attributes[name])])),
  };
  const declared = options(spec.name, shape);

  const make = (given: ReasoningTaskOptions<Attribute> = {}): ReasoningTask<Problem, Attribute> => {
    const read = declared.read(given as Given<typeof declared>) as { readonly level: number } & {
      readonly [A in Attribute]?: IntegerRange;
    };
    const settings = Object.fromEntries(
      names.map((name) => [name, endsOf(read[name] ?? spec.attributes[name][read.level]!)]),
    ) as Record<Attribute, readonly [number, number]>;
    const scoreAnswer = (problem: Problem, answer: string | null): number => {
      if (answer === null) return 0;
      const given = answer.trim();
      return given === spec.answer(problem) ? 1 : Number(spec.score?.(problem, given) ?? 0);
    };
    return {
      name: spec.name,
      settings,
      generate(seed, index) {
        const random = createRandom(seed, spec.name, index);
        const at = Object.fromEntries(names.map((name) => [name, drawFrom(random, settings[name])]));
        return spec.make(random, at as Record<Attribute, number>);
      },
      key: spec.key ?? ((problem) => canonicalJson({ ...problem, solution: undefined })),
      prompt: (problem) => `${spec.question(problem)}\nGive the answer between <answer> and </answer>.`,
      solution: (problem) => `<answer>${spec.answer(problem)}</answer>`,
      answer: (problem) => spec.answer(problem),
      extractAnswer: taggedAnswer,
      scoreAnswer,
      check(problem, completion) {
        const answer = taggedAnswer(completion);
        if (answer === null) return { correct: false, reason: 'there is nothing between answer tags' };
        const score = scoreAnswer(problem, answer);
        return score === 1 ? { correct: true } : { correct: false, reason: `the score of ${answer} is ${score}` };
      },
    };
  };
  return Object.assign(make, { taskName: spec.name, attributes: spec.attributes });
}

const attributeOption = (levels: readonly number[]): Option<IntegerRange, 'optional'> =>
  custom<IntegerRange>()(...rangeWithin(Math.min(...levels), Math.max(...levels)), { optional: true });

/** How a level of a curriculum becomes a range: the level alone, all levels up to it, or the last few of them. */
export type CurriculumMode = 'upper-bound' | 'inclusive' | { readonly last: number };

/** A curriculum: a level of each attribute. A value: `raise` and `lower` give another one. */
export interface TaskCurriculum<Problem extends object = object, Attribute extends string = string> {
  readonly levels: Readonly<Record<Attribute, number>>;
  /** One level up of one attribute, or of all; the last level stays. */
  raise(attribute?: Attribute): TaskCurriculum<Problem, Attribute>;
  lower(attribute?: Attribute): TaskCurriculum<Problem, Attribute>;
  /** The task at these levels. */
  task(): ReasoningTask<Problem, Attribute>;
  /** What a checkpoint keeps of it: give it back as `levels`. */
  state(): Record<Attribute, number>;
}

/**
 * The curriculum of a task by attribute, as reasoning-gym's `BaseCurriculum`: every attribute has a level that goes up and down on its own.
 *
 * @param mode default `'inclusive'`: an attribute is drawn from its easiest level to the one it is at
 * @throws DataOptionError for an attribute that the task does not have, or a level that it does not have
 */
export function taskCurriculum<Problem extends object, Attribute extends string>(
  maker: ReasoningTaskMaker<Problem, Attribute>,
  { levels = {}, mode = 'inclusive' }: { levels?: Partial<Record<Attribute, number>>; mode?: CurriculumMode } = {},
): TaskCurriculum<Problem, Attribute> {
  const names = Object.keys(maker.attributes) as Attribute[];
  const fail = (problem: string): never => {
    throw new DataOptionError(`taskCurriculum of ${maker.taskName}`, problem);
  };
  const known = (name: string): name is Attribute =>
    names.includes(name as Attribute) || fail(`there is no attribute "${name}"; there are ${names.join(', ')}.`);
  for (const [name, level] of Object.entries<number | undefined>(levels)) {
    if (!known(name)) continue;
    const most = maker.attributes[name].length - 1;
    if (!Number.isSafeInteger(level) || level! < 0 || level! > most)
      fail(`the level of "${name}" must be from 0 to ${most}, got ${level}.`);
  }
  const at = Object.fromEntries(names.map((name) => [name, levels[name] ?? 0])) as Record<Attribute, number>;
  const moved = (by: number, attribute?: Attribute): TaskCurriculum<Problem, Attribute> => {
    if (attribute !== undefined) known(attribute);
    const next = names.map((name) => {
      const most = maker.attributes[name].length - 1;
      const level = attribute === undefined || attribute === name ? at[name] + by : at[name];
      return [name, Math.min(most, Math.max(0, level))];
    });
    return taskCurriculum(maker, { levels: Object.fromEntries(next), mode });
  };
  return {
    levels: at,
    raise: (attribute) => moved(1, attribute),
    lower: (attribute) => moved(-1, attribute),
    state: () => ({ ...at }),
    task() {
      const ranges = names.map((name) => {
        const list = maker.attributes[name];
        const first = mode === 'upper-bound' ? at[name] : mode === 'inclusive' ? 0 : at[name] - mode.last + 1;
        const some = list.slice(Math.max(0, first), at[name] + 1);
        return [name, [Math.min(...some), Math.max(...some)]];
      });
      return maker(Object.fromEntries(ranges) as ReasoningTaskOptions<Attribute>);
    },
  };
}
