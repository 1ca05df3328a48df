import { custom, type Given, options, PosttrainError, type Prompt } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { Annotator } from '../annotator.js';
import type { PromptRow } from '../rewards/reward.js';
import { tokensOfPrompt } from '../rollout/tokens-of-prompt.js';
import { alike, groupsOf, type ScoredRollout } from '../rollout.js';
import { rolloutField } from '../rollout-field.js';
import {
  isTokenTeacher,
  nameOfTeacher,
  refuseUnfitTeacher,
  TOKEN_TEACHER,
  type TokenTeacher,
  teacherScores,
} from './token-teacher.js';

/** log p of each completion token under the teacher. */
export const teacherLogProb = rolloutField('teacher.log-probs', { per: 'token' });

/** A row with its further columns, whatever they are. */
export type RowWithColumns = PromptRow & Readonly<Record<string, unknown>>;

/** Whose tokens a teacher is asked about. */
export interface PrivilegedContext {
  readonly rollout: ScoredRollout;
  /** All rollouts of its prompt in this step, itself among them. */
  readonly group: readonly ScoredRollout[];
}

/**
 * What a teacher is shown in the place of the row's prompt. Undefined: it knows no more than the student of this rollout, which then has no
 * token that is trained.
 */
export type PrivilegedPrompt = (row: RowWithColumns, about: PrivilegedContext) => Prompt | undefined;

const OF_A_ROW = 'a function of a row';
const isFunction = (value: unknown): boolean => typeof value === 'function';

export const privilegedShape = {
  /** The prompt that the teacher sees instead of the student's: with the answer, a demonstration, feedback. */
  privileged: custom<PrivilegedPrompt>()(OF_A_ROW, isFunction, { settings: String }),
};

const optionalPrivileged = {
  /** The prompt that the teacher sees instead of the student's. Default: the same. */
  privileged: custom<PrivilegedPrompt>()(OF_A_ROW, isFunction, { optional: true, settings: String }),
};

const isTeachers = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  !isTokenTeacher(value) &&
  Object.keys(value).length > 0 &&
  Object.values(value).every(isTokenTeacher);

export const teacherShape = {
  /** Who teaches: a model, or something that scores tokens elsewhere. */
  teacher: custom<TokenTeacher>()(TOKEN_TEACHER, isTokenTeacher, { settings: nameOfTeacher }),
};

export const teachersShape = {
  /** Teachers by name. */
  teachers: custom<Readonly<Record<string, TokenTeacher>>>()(
    `an object by name of teachers, each ${TOKEN_TEACHER}`,
    isTeachers,
    {
      settings: (teachers) =>
        Object.fromEntries(Object.entries(teachers).map(([name, teacher]) => [name, nameOfTeacher(teacher)])),
    },
  ),
  /**
   * Which of them a row's completions are scored by: its domain. Default: by all, and what is read is the mean of their
   * log-probabilities.
   */
  route: custom<(row: RowWithColumns) => string>()(OF_A_ROW, isFunction, { optional: true, settings: String }),
};

const teacherOptions = options('teacherLogProbs', { ...teacherShape, ...optionalPrivileged });
/** Options of `teacherLogProbs`. */
export type TeacherLogProbsOptions = Given<typeof teacherOptions>;

const teachersOptions = options('teachersLogProbs', { ...teachersShape, ...optionalPrivileged });
/** Options of `teachersLogProbs`. */
export type TeachersLogProbsOptions = Given<typeof teachersOptions>;

/** Tokens that a teacher reads of a rollout. */
export interface TeacherSequence {
  readonly tokens: readonly number[];
  /** Where the completion begins. */
  readonly start: number;
}

/** What a teacher reads of each rollout: its prompt, or the privileged one, and the completion; null where it is told nothing more. */
export function teacherSequences(
  rollouts: readonly ScoredRollout[],
  privileged: PrivilegedPrompt | undefined,
  model: CausalLM,
): (TeacherSequence | null)[] {
  const groups = new Map(groupsOf(rollouts).map((group) => [group[0]!.group, group]));
  return rollouts.map((rollout) => {
    const { row, promptTokens, completionTokens } = rollout;
    if (!privileged) return { tokens: [...promptTokens, ...completionTokens], start: promptTokens.length };
    const prompt = privileged(row as RowWithColumns, { rollout, group: groups.get(rollout.group)! });
    if (prompt === undefined) return null;
    const before = tokensOfPrompt(model, { ...row, prompt });
    return { tokens: [...before, ...completionTokens], start: before.length };
  });
}

/** The rollout, nothing of which is trained. */
export const untaught = (rollout: ScoredRollout): ScoredRollout => ({
  ...rollout,
  mask: rollout.completionTokens.map(() => 0),
});

/**
 * Gives every rollout log p of its tokens under a teacher (`teacherLogProb`), in one pass over what the student has sampled and at the
 * temperature that it was sampled at. It needs nothing of the teacher but these numbers. With `privileged` it reads another prompt:
 * self-distillation. Before the first step it refuses a teacher of another vocabulary, and an endpoint without log-probabilities.
 *
 * @throws OptionError
 */
export function teacherLogProbs(given: TeacherLogProbsOptions): Annotator {
  const { teacher, privileged } = teacherOptions.read(given);
  return annotatorOf('teacher-log-probs', teacherOptions.settings(given), { teachers: { teacher }, privileged });
}

/**
 * `teacherLogProbs` of several teachers: each rollout is scored by the one that its row is routed to, or by all of them.
 *
 * @throws OptionError; PosttrainError TEACHER_ROUTE for a row that is routed to nobody
 */
export function teachersLogProbs(given: TeachersLogProbsOptions): Annotator {
  const { teachers, route, privileged } = teachersOptions.read(given);
  return annotatorOf('teachers-log-probs', teachersOptions.settings(given), { teachers, route, privileged });
}

interface Teaching {
  readonly teachers: Readonly<Record<string, TokenTeacher>>;
  readonly route?: ((row: RowWithColumns) => string) | undefined;
  readonly privileged: PrivilegedPrompt | undefined;
}

function annotatorOf(
  name: string,
  settings: NonNullable<Annotator['settings']>,
  { teachers, route, privileged }: Teaching,
): Annotator {
  const routed = (row: PromptRow): readonly string[] => {
    if (!route) return Object.keys(teachers);
    const wanted = route(row as RowWithColumns);
    if (Object.hasOwn(teachers, wanted)) return [wanted];
    const there = Object.keys(teachers).join(', ');
    const problem = `a row is routed to the teacher ${JSON.stringify(wanted) ?? wanted}, and there are ${there}`;
    throw new PosttrainError('TEACHER_ROUTE', `${problem}: ${JSON.stringify(row).slice(0, 200)}`);
  };
  return {
    ...{ name, settings },
    gives: [teacherLogProb.need],
    async prepare(context) {
      for (const teacher of Object.values(teachers)) await refuseUnfitTeacher(name, teacher, context);
    },
    async annotate(rollouts, context) {
      const sums = rollouts.map(({ completionTokens }) => new Float64Array(completionTokens.length));
      const sequences = teacherSequences(rollouts, privileged, context.model);
      const asked = rollouts.flatMap(({ row, completionTokens }, i) =>
        completionTokens.length === 0 || !sequences[i]
          ? []
          : routed(row).map((teacher, _, { length }) => ({ i, teacher, share: 1 / length })),
      );
      for (const places of alike(asked, ({ teacher }) => teacher)) {
        const read = places.map(({ i }) => sequences[i]!);
        const scored = await teacherScores(
          teachers[places[0]!.teacher]!,
          read.map(({ tokens }) => tokens),
          context,
        );
        places.forEach(({ i, share }, j) => {
          const from = read[j]!.start - 1;
          const sum = sums[i]!;
          for (let t = 0; t < sum.length; t++) sum[t]! += share * scored[j]![from + t]!;
        });
      }
      return rollouts.map((rollout, i) =>
        teacherLogProb.on(sequences[i] ? rollout : untaught(rollout), Float32Array.from(sums[i]!)),
      );
    },
  };
}
