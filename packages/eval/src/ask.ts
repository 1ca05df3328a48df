import { createHash } from 'node:crypto';
import type { GenerateRequest, Generator, Prompt, ScoreRequest, Scorer, VerifyRequest } from '@posttrain/interfaces';
import { EvaluationError } from './errors.js';
import type { ChoiceProblem, GenerateProblem, LoggedChoice, LoggedCompletion, ProblemRecord } from './log/format.js';
import type { GenerateTask, Grade, Grader, MultipleChoiceTask, Row } from './task.js';

/** A problem that has not been asked yet. */
export interface Problem<R extends Row> {
  readonly id: string;
  readonly row: R;
  readonly prompt: Prompt;
  readonly cluster?: string;
}

/** How one kind of task turns problems into records. */
export interface Asker<R extends Row, P extends ProblemRecord> {
  hash(problem: Problem<R>): string;
  ask(problems: readonly Problem<R>[]): Promise<P[]>;
}

export function askGenerator<R extends Row>(
  task: GenerateTask<R>,
  generator: Generator,
  seed: number,
  signal: AbortSignal | undefined,
): Asker<R, GenerateProblem> {
  const samples = task.samples ?? 1;
  const { prefix } = task;
  const requestOf = ({ id, prompt, row }: Problem<R>) =>
    ({
      prompt,
      n: samples,
      ...task.sampling,
      ...(prefix !== undefined && { prefix: typeof prefix === 'function' ? prefix(row) : prefix }),
      seed: problemSeed(seed, id),
    }) satisfies GenerateRequest;
  return {
    hash: (problem) => hashRequest(requestOf(problem)),
    ask: async (problems) => {
      const begun = performance.now();
      const requests = problems.map(requestOf);
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
      const grades = await gradeAll(task.graders, questions);
      const verifierScores = await gradeAll(task.verifiers ?? [], questions);
      const seconds = (performance.now() - begun) / 1000 / problems.length;
      return problems.map((problem, i) => ({
        type: 'problem',
        ...problem,
        requestHash: hashRequest(requests[i]),
        seed: requests[i]!.seed,
        completions: answers[i]!.map(
          ({ tokenIds: _, logProbs: __, ...completion }, j): LoggedCompletion => ({
            ...completion,
            grades: grades[i * samples + j]!,
            ...(task.verifiers && { verifierScores: verifierScores[i * samples + j]! }),
          }),
        ),
        seconds,
      }));
    },
  };
}

export function askScorer<R extends Row>(task: MultipleChoiceTask<R>, scorer: Scorer): Asker<R, ChoiceProblem> {
  const delimiter = task.delimiter ?? ' ';
  const requestsOf = ({ row, prompt }: Problem<R>): ScoreRequest[] =>
    task.choices(row).map((choice) => ({ prompt, continuation: delimiter + choice }));
  return {
    hash: (problem) => hashRequest(requestsOf(problem)),
    ask: async (problems) => {
      const begun = performance.now();
      const golds = problems.map((problem) => goldOf(task, problem));
      const requests = problems.map(requestsOf);
      const scores = await scorer.score(requests.flat());
      assertLength(scorer.name, 'scores', scores.length, requests.flat().length, 'requests');
      const seconds = (performance.now() - begun) / 1000 / problems.length;
      let next = 0;
      return problems.map((problem, i) => ({
        type: 'problem',
        ...problem,
        requestHash: hashRequest(requests[i]),
        gold: golds[i]!,
        choices: task.choices(problem.row).map((text): LoggedChoice => ({ text, ...scores[next++]! })),
        seconds,
      }));
    },
  };
}

/** A 32-bit seed of the problem's own, so that order, batch size and resuming do not change what is drawn. */
function problemSeed(seed: number, id: string): number {
  return createHash('sha256').update(`${seed}:${id}`).digest().readUInt32LE(0);
}

function hashRequest(request: unknown): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('hex');
}

function goldOf<R extends Row>(task: MultipleChoiceTask<R>, { id, row }: Problem<R>): number {
  const gold = task.gold(row);
  const choices = task.choices(row);
  if (choices.length < 2 || choices.includes('')) {
    throw new EvaluationError(
      'BAD_TASK',
      `${task.name}: problem "${id}" needs two choices or more, none of them empty.`,
    );
  }
  if (!Number.isInteger(gold) || gold < 0 || gold >= choices.length) {
    throw new EvaluationError(
      'BAD_TASK',
      `${task.name}: problem "${id}" has gold ${gold}, but its choices are 0 to ${choices.length - 1}.`,
    );
  }
  return gold;
}

async function gradeAll(
  graders: readonly Grader[],
  questions: readonly VerifyRequest[],
): Promise<Record<string, Grade>[]> {
  const grades: Record<string, Grade>[] = questions.map(() => ({}));
  for (const grader of graders) {
    const given = await grader.verify(questions);
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

function assertLength(who: string, what: string, got: number, expected: number, of: string): void {
  if (got !== expected)
    throw new EvaluationError('BAD_RESPONSE', `${who} returned ${got} ${what} for ${expected} ${of}.`);
}
