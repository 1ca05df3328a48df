import type { GenerateRequest, Generator, VerifyRequest } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { GenerateProblem, LoggedCompletion } from '../log/format.js';
import { type GenerateTask, type Grade, type Grader, gradedProblem, type SampledProblem } from '../task.js';
import {
  type AskContext,
  assertLength,
  hashRequest,
  type Problem,
  problemSeed,
  recordOf,
  requireList,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';
import { completionWarnings } from '../warnings.js';

const GRADER = 'an object with a name and verify(requests), such as exactMatch()';

/** The model writes; graders read. */
export const generateKind: TaskKind<GenerateTask, Generator, GenerateProblem, SampledProblem> = {
  type: 'generate',
  keys: ['sampling', 'samples', 'prefix', 'graders', 'verifiers'],
  checkModel: (model, where) => requireMethod(model, 'generate', 'generator', 'LocalGenerator', where),
  check: assertGenerateTask,
  settings: (task) => ({
    sampling: task.sampling ?? {},
    samples: task.samples ?? 1,
    // One of a row is in the hash of its request.
    ...(typeof task.prefix === 'string' && { prefix: task.prefix }),
    graders: task.graders.map(({ name }) => name),
    verifiers: (task.verifiers ?? []).map(({ name }) => name),
  }),
  hash: (task, problem, context) => hashRequest(requestOf(task, problem, context)),
  async ask(task, problems, generator, context) {
    const { signal } = context;
    const samples = task.samples ?? 1;
    const begun = performance.now();
    const requests = problems.map((problem) => requestOf(task, problem, context));
    const answers = await generator.generate(requests.map((request) => ({ ...request, ...(signal && { signal }) })));
    assertLength(generator.name, 'arrays of completions', answers.length, requests.length, 'requests');
    const questions: VerifyRequest[] = [];
    answers.forEach((completions, i) => {
      assertLength(generator.name, 'completions', completions.length, samples, `samples of "${problems[i]!.id}"`);
      const { prompt, row } = problems[i]!;
      for (const { text, finishReason, tokenIds } of completions) {
        if (finishReason === 'abort') throw new EvaluationError('ABORTED', `${task.name}: stopped by the signal.`);
        questions.push({
          ...{ prompt, completion: text, row: row as Readonly<Record<string, unknown>>, finishReason },
          ...(tokenIds && { tokenIds }),
          ...(signal && { signal }),
        });
      }
    });
    const grades = await gradeAll(task.name, task.graders, questions, signal);
    const verifierScores = await gradeAll(task.name, task.verifiers ?? [], questions, signal);
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    return problems.map((problem, i) => ({
      ...recordOf(problem, hashRequest(requests[i]), seconds),
      seed: requests[i]!.seed,
      completions: answers[i]!.map(
        ({ tokenIds: _, logProbs: __, ...completion }, j): LoggedCompletion => ({
          ...completion,
          grades: grades[i * samples + j]!,
          ...(task.verifiers && { verifierScores: verifierScores[i * samples + j]! }),
        }),
      ),
    }));
  },
  graders: (task) => task.graders.map(({ name }) => name),
  seen: (record, grader) => gradedProblem(record, grader ?? ''),
  usage: ({ completions }) => completions.map(({ usage }) => usage),
  verdicts: ({ completions }) =>
    completions.flatMap(({ grades, verifierScores = {} }) => [
      ...Object.values(grades),
      ...Object.values(verifierScores),
    ]),
  warnings: completionWarnings,
};

function requestOf(task: GenerateTask, { id, prompt, row }: Problem, { seed }: AskContext) {
  const { prefix } = task;
  return {
    prompt,
    n: task.samples ?? 1,
    ...task.sampling,
    ...(prefix !== undefined && { prefix: typeof prefix === 'function' ? prefix(row) : prefix }),
    seed: problemSeed(seed, id),
  } satisfies GenerateRequest;
}

function assertGenerateTask(task: GenerateTask, where: string): void {
  const { graders, verifiers = [] } = task as { readonly graders: unknown; readonly verifiers?: unknown };
  requireList(graders, 'graders', 'verify', GRADER, where);
  requireList(verifiers, 'verifiers', 'verify', GRADER, where);
  const samples = task.samples ?? 1;
  if (!Number.isInteger(samples) || samples < 1) {
    throw new EvaluationError(
      'BAD_TASK',
      `${where}: samples must be a whole number above 0, not ${showValue(samples)}.`,
    );
  }
  const greedy = task.metrics.find(({ k = 0 }) => k > samples);
  if (greedy) {
    throw new EvaluationError(
      'TOO_FEW_SAMPLES',
      `${where}: ${greedy.name} needs ${greedy.k} samples of every problem, but "samples" is ${samples}. ` +
        'Nothing has been asked yet: raise "samples", or ask for a smaller k.',
    );
  }
  if (task.graders.length === 0)
    throw new EvaluationError('BAD_TASK', `${where} has no grader, so nothing can be measured.`);
  const names = [...task.graders, ...(task.verifiers ?? [])].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new EvaluationError(
      'BAD_TASK',
      `${where}: two graders or verifiers are called "${twice}"; give each its own name.`,
    );
  }
}

async function gradeAll(
  task: string,
  graders: readonly Grader[],
  questions: readonly VerifyRequest[],
  signal: AbortSignal | undefined,
): Promise<Record<string, Grade>[]> {
  const grades: Record<string, Grade>[] = questions.map(() => ({}));
  for (const grader of graders) {
    const given = await untilAborted(() => grader.verify(questions), signal, task);
    assertLength(grader.name, 'grades', given.length, questions.length, 'completions');
    given.forEach((grade, i) => {
      if (grade.score !== null && !Number.isFinite(grade.score)) {
        throw new EvaluationError(
          'BAD_RESPONSE',
          `${grader.name} gave the score ${grade.score}; a score is a finite number, or null for "not scorable".`,
        );
      }
      grades[i]![grader.name] = grade;
    });
  }
  return grades;
}
