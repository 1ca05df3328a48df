import {
  custom,
  type Given,
  nearestName,
  options,
  showValue,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { strip } from '@posttrain/interfaces/python';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { EvaluationError } from '../errors.js';
import { ratioWithStandardError } from '../statistics/standard-error.js';
import type { GenerateTask, SampleMetric } from '../task.js';
import { ifbenchChecks } from './ifbench-checks.js';
import { InstructionArguments, type InstructionCheck, type InstructionTools, ifevalChecks } from './ifeval-checks.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';
const toolOptions = options('ifeval', {
  /** ISO 639-1 code of a text's language, `null` where it cannot be told. Default: instructions that need it are refused. */
  language: custom<NonNullable<InstructionTools['language']>>()('a function of a text', isFunction, { optional: true }),
  /** Sentences of a text. Default: instructions that need it are refused. */
  sentences: custom<NonNullable<InstructionTools['sentences']>>()('a function of a text', isFunction, {
    optional: true,
  }),
  /** Penn Treebank tags of tokens. Default: instructions that need it are refused. */
  tags: custom<NonNullable<InstructionTools['tags']>>()('a function of tokens', isFunction, { optional: true }),
  /** Syllables of a word. Default: instructions that need it are refused. */
  syllables: custom<NonNullable<InstructionTools['syllables']>>()('a function of a word', isFunction, {
    optional: true,
  }),
  /** Checks of one's own, by id, beside or in the place of those of IFEval and IFBench. */
  checks: custom<Readonly<Record<string, InstructionCheck>>>()(
    'an object of functions',
    (value) => typeof value === 'object',
    {
      optional: true,
    },
  ),
});
/** Options of `ifeval`, `ifbench`, `instructionsFollowed`. */
export type IfevalOptions = Given<typeof toolOptions>;

/** A row of IFEval or IFBench, by its columns. */
export interface IfevalRow {
  readonly key?: number | string;
  readonly prompt: string;
  readonly instruction_id_list: readonly string[];
  /** Arguments of each instruction; those that are null, 0 or empty are not there. */
  readonly kwargs: readonly Readonly<Record<string, unknown>>[];
}

/** An answer and what is left of it without its first line, its last, both, and each of these without asterisks. */
export function looseVersions(answer: string): string[] {
  const lines = answer.split('\n');
  const cut = [lines.slice(1), lines.slice(0, -1), lines.slice(1, -1)].map((some) => strip(some.join('\n')));
  return [answer, ...cut].flatMap((version) => [version, version.replaceAll('*', '')]);
}

/**
 * Which instructions of its row a completion follows (IFEval, arXiv 2311.07911; IFBench, 2507.02833): `strict`, as it is, or `loose`, in any of its
 * `looseVersions`. The score is the share of them; `stepScores` has each, in order. An empty answer follows none.
 *
 * @throws OptionError; EvaluationError `BAD_ROW` for instructions and arguments that are not known, or that need a tool that is not given
 */
export function instructionsFollowed(mode: 'strict' | 'loose', given: IfevalOptions = {}): Verifier {
  const { checks = {}, ...tools } = toolOptions.read(given);
  const known: Readonly<Record<string, InstructionCheck>> = { ...ifevalChecks, ...ifbenchChecks, ...checks };
  return ruleVerifier(mode, { checks: Object.keys(checks).join(' ') }, (request) => {
    const versions = (mode === 'strict' ? [request.completion] : looseVersions(request.completion)).filter(
      (one) => strip(one) !== '',
    );
    const stepScores = instructionsOf(request, known, tools).map(({ check, given: read }) =>
      Number(versions.some((version) => check(version, read))),
    );
    return { score: stepScores.reduce((sum, one) => sum + one, 0) / stepScores.length, stepScores };
  });
}

function instructionsOf(
  { row }: VerifyRequest,
  known: Readonly<Record<string, InstructionCheck>>,
  tools: InstructionTools,
) {
  const { instruction_id_list: ids, kwargs, prompt } = (row ?? {}) as Partial<IfevalRow>;
  if (!Array.isArray(ids) || ids.length === 0 || !Array.isArray(kwargs) || kwargs.length !== ids.length) {
    throw new EvaluationError(
      'BAD_ROW',
      'ifeval: a row needs "instruction_id_list", and "kwargs" with an object for each of them.',
    );
  }
  return ids.map((id: unknown, i) => {
    const check = typeof id === 'string' && Object.hasOwn(known, id) ? known[id] : undefined;
    if (!check) {
      const near = typeof id === 'string' ? nearestName(id, Object.keys(known)) : undefined;
      throw new EvaluationError(
        'BAD_ROW',
        `ifeval: there is no instruction ${showValue(id)}${near ? `; did you mean "${near}"?` : '.'}`,
      );
    }
    return { check, given: new InstructionArguments(id as string, kwargs[i] ?? {}, tools, prompt ?? '') };
  });
}

/** Whether all steps of a sample are right: IFEval's accuracy by prompt. */
export function everyStep(name = 'prompt_level_acc'): SampleMetric {
  return {
    name,
    value: ({ samples }) => {
      const scored = samples.filter(({ stepScores }) => stepScores !== undefined);
      return scored.length === 0
        ? null
        : scored.filter(({ stepScores }) => stepScores!.every((one) => one === 1)).length / scored.length;
    },
  };
}

/** The share of right steps over all problems, long ones counting more: IFEval's accuracy by instruction. The standard error is a ratio's. */
export function shareOfSteps(name = 'inst_level_acc'): SampleMetric {
  const steps = (samples: Parameters<SampleMetric['value']>[0]['samples']) =>
    samples.flatMap(({ stepScores = [] }) => stepScores);
  const sum = (values: readonly number[]) => values.reduce((total, one) => total + one, 0);
  return {
    name,
    value: ({ samples }) => (steps(samples).length === 0 ? null : sum(steps(samples)) / steps(samples).length),
    estimate: (problems, clusters) =>
      ratioWithStandardError(
        problems.map(({ samples }) => sum(steps(samples))),
        problems.map(({ samples }) => steps(samples).length),
        clusters,
      ),
  };
}

/**
 * IFEval: instructions that a program can check, strict and loose. `metricOf(result, 'inst_level_acc', 'loose')` is one of its four numbers.
 * @throws OptionError
 */
export function ifeval(rows: readonly IfevalRow[], given: IfevalOptions = {}): GenerateTask<IfevalRow> {
  return instructionTask('ifeval', 1280, rows, given);
}

/**
 * IFBench (arXiv 2507.02833): IFEval's form and numbers with 58 other kinds of instructions.
 * @throws OptionError
 */
export function ifbench(rows: readonly IfevalRow[], given: IfevalOptions = {}): GenerateTask<IfevalRow> {
  return instructionTask('ifbench', 4096, rows, given);
}

function instructionTask(
  name: string,
  maxTokens: number,
  rows: readonly IfevalRow[],
  given: IfevalOptions,
): GenerateTask<IfevalRow> {
  return {
    type: 'generate',
    name,
    dataset: rows,
    id: ({ key }, index) => String(key ?? index),
    prompt: ({ prompt }) => prompt,
    sampling: { temperature: 0, maxTokens },
    graders: [instructionsFollowed('strict', given), instructionsFollowed('loose', given)],
    metrics: [everyStep(), shareOfSteps()],
  };
}
