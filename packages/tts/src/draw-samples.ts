import {
  assertArgument,
  assertKnownOptions,
  type Generator,
  type OnProgress,
  type SamplingParams,
  type Verifier,
} from '@posttrain/interfaces';
import { type AnswerExtractor, extractFinalAnswer } from '@posttrain/interfaces/answers';
import { assertGenerator, assertVerifier } from './arguments.js';
import { assertInteger, ContractError } from './errors.js';
import type { ProblemSamples, ScalingSample } from './scaling-curve.js';
import { answerOf, type Problem } from './search.js';

export interface DrawSamplesOptions {
  readonly generator: Generator;
  /** Completions per problem (N). */
  readonly n: number;
  /** Says which completions are right: a score above 0 is. It must never say `null`. */
  readonly checker: Verifier;
  /** Scores completions for best-of-N and weighted best-of-N. Default: none, and no such curves. */
  readonly verifier?: Verifier;
  /** With a `seed`, problem i uses `seed + i·n`. */
  readonly sampling?: SamplingParams;
  /** Problems given to the generator at once. Default 16. */
  readonly batchSize?: number;
  /** Default `extractFinalAnswer`. */
  readonly extractAnswer?: AnswerExtractor;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface DrawnSample extends ScalingSample {
  /** Prefix and completion. */
  readonly text: string;
  readonly promptTokens: number;
}

export interface DrawnSamples extends ProblemSamples {
  readonly problem: Problem;
  readonly samples: readonly DrawnSample[];
}

/** Draws `n` completions of every problem, checks and scores them: one run, for `scalingCurve`. */
export async function drawSamples(problems: readonly Problem[], options: DrawSamplesOptions): Promise<DrawnSamples[]> {
  assertKnownOptions('drawSamples', options, [
    'generator',
    'n',
    'checker',
    'verifier',
    'sampling',
    'batchSize',
    'extractAnswer',
    'onProgress',
    'signal',
  ]);
  const { generator, n, checker, verifier, sampling = {}, batchSize = 16, onProgress, signal } = options;
  assertArgument('drawSamples', 'problems', problems, Array.isArray(problems), 'a list of { prompt, … }');
  assertGenerator('drawSamples', generator);
  if (checker !== undefined) assertVerifier('drawSamples', checker, 'checker');
  if (verifier !== undefined) assertVerifier('drawSamples', verifier);
  const extractAnswer = options.extractAnswer ?? extractFinalAnswer;
  assertInteger('drawSamples: n', n, 1);
  assertInteger('drawSamples: batchSize', batchSize, 1);
  const started = performance.now();
  const drawn: DrawnSamples[] = [];
  for (let start = 0; start < problems.length; start += batchSize) {
    signal?.throwIfAborted();
    const batch = problems.slice(start, start + batchSize);
    const completions = await generator.generate(
      batch.map(({ prompt, prefix }, i) => ({
        ...sampling,
        ...(sampling.seed === undefined ? {} : { seed: sampling.seed + (start + i) * n }),
        ...(prefix ? { prefix } : {}),
        ...(signal ? { signal } : {}),
        prompt,
        n,
      })),
    );
    if (completions.length !== batch.length || completions.some((list) => list.length !== n)) {
      throw new ContractError(
        `generator "${generator.name}" did not return ${n} completions for each of ${batch.length} requests.`,
      );
    }
    signal?.throwIfAborted();
    const texts = completions.map((list, i) => list.map(({ text }) => (batch[i]!.prefix ?? '') + text));
    const judge = async (judge: Verifier) => {
      const verdicts = await judge.verify(
        texts.flatMap((list, i) => {
          const { prompt, row } = batch[i]!;
          return list.map((completion) => ({
            prompt,
            completion,
            ...(row ? { row } : {}),
            ...(signal ? { signal } : {}),
          }));
        }),
      );
      if (verdicts.length !== batch.length * n) {
        throw new ContractError(
          `verifier "${judge.name}" returned ${verdicts.length} verdicts for ${batch.length * n} completions.`,
        );
      }
      return verdicts.map(({ score }) => score);
    };
    const correct = await judge(checker);
    const scores = verifier ? await judge(verifier) : undefined;
    batch.forEach((problem, i) => {
      const samples = completions[i]!.map((completion, j) => {
        const right = correct[i * n + j]!;
        if (right === null) {
          throw new ContractError(
            `checker "${checker.name}" could not say whether completion ${j} of problem ${start + i} is right (null); ` +
              'an accuracy needs an answer: check the row, or leave the problem out.',
          );
        }
        const text = texts[i]![j]!;
        return {
          text,
          answer: answerOf(extractAnswer, text),
          correct: right > 0,
          ...(scores ? { score: scores[i * n + j]! } : {}),
          promptTokens: completion.usage.promptTokens,
          completionTokens: completion.usage.completionTokens,
        };
      });
      drawn.push({ problem, samples });
    });
    const secondsPerProblem = (performance.now() - started) / 1000 / drawn.length;
    onProgress?.({
      stage: 'drawing samples',
      done: drawn.length,
      total: problems.length,
      etaSeconds: secondsPerProblem * (problems.length - drawn.length),
    });
  }
  return drawn;
}
