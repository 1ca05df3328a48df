import {
  assertArgument,
  custom,
  type Given,
  integer,
  type Sandbox,
  type SandboxLimits,
  type SandboxResult,
  text,
} from '@posttrain/interfaces';
import { normalizeAnswer } from '@posttrain/interfaces/answers';
import { allOrAbort, createLimiter } from '@posttrain/interfaces/concurrency';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote } from '../voting.js';

const programAidedOptions = strategyOptions('program-aided', {
  /** What runs the programs. */
  sandbox: custom<Sandbox>()('a Sandbox, such as quickjs() of @posttrain/sandbox', isSandbox, {}),
  /** The language that the model writes. Default: the sandbox's first. */
  language: text({ optional: true }),
  /** The program in a completion; `null`: none. Default: all of it. `extractCode` of `@posttrain/sandbox` takes it out of fences. */
  extractProgram: custom<(completion: string) => string | null>()(
    'a function of a completion: (text) => program or null',
    (value) => typeof value === 'function',
    { default: (completion: string) => completion },
  ),
  /** An expression of the language whose value is the answer, `solution()` as in the paper. Default: the answer is what the program prints. */
  answerExpression: text({ optional: true }),
  /** Of one program. Default: the sandbox's. */
  limits: custom<SandboxLimits>()('an object, as { wallMs }', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
  /** Programs that run at a time. Default 4. */
  concurrency: integer({ default: 4, min: 1 }),
});
/** Options of `programAided`. `n` is the number of programs; `extractAnswer` reads what one printed (default: all of it, by `normalizeAnswer`). */
export type ProgramAidedOptions = Given<typeof programAidedOptions>;

/**
 * Program-aided language models (PAL, arXiv 2211.10435): the model writes programs π_1 … π_n, a sandbox computes their answers, and the
 * answer is the majority's (§5 of the paper; with n = 1 the program's own):
 *
 *   argmax_a Σ_i 1[run(π_i) = a]
 *
 * The authors' code runs all programs in one interpreter, in which a program without `solution` votes with that of the one before; here it has no vote.
 *
 * Ties go to the answer that appeared first; the text returned is the first completion with the winning answer. A program that
 * fails, is stopped by a limit or prints nothing does not vote, and its node says why. When the wall time of the budget is over,
 * programs that run are killed. Throws `NoCandidateError` when none has an answer, and what the sandbox throws where it cannot run.
 */
export async function programAided(problem: Problem, options: ProgramAidedOptions): Promise<SearchResult> {
  const { where: name } = programAidedOptions;
  const settings = programAidedOptions.read(options);
  const { sandbox, extractProgram, answerExpression, limits, concurrency, signal } = settings;
  const { extractAnswer = normalizeAnswer, language = sandbox.languages[0]! } = settings;
  // The text is a program: the last number in it is no answer.
  const search = new Search(programAidedOptions, problem, { ...options, extractAnswer: () => null });
  const isKnown = sandbox.languages.includes(language);
  assertArgument(name, 'language', language, isKnown, `one of ${sandbox.languages.join(', ')}, which the sandbox runs`);

  const isOver = () => search.exhausted === 'maxWallTimeMs';
  /** What the program of a completion printed, or why there is nothing. */
  const run = async (text: string, stop: AbortSignal): Promise<{ stdout: string } | { reason: string }> => {
    const program = extractProgram(text);
    if (program === null) return { reason: 'no program found' };
    stop.throwIfAborted();
    if (isOver()) return { reason: 'not run: wall time over' };
    const code = answerExpression === undefined ? program : `${program}\nprint(${answerExpression})\n`;
    try {
      const result = await sandbox.run({
        ...{ language, code, signal: AbortSignal.any([stop, search.signal]) },
        ...(limits && { limits }),
      });
      return failureOf(result) ?? { stdout: result.stdout };
    } catch (error) {
      if (signal?.aborted || stop.aborted || !isOver()) throw error;
      return { reason: 'stopped: wall time over' };
    }
  };

  const drawn = await search.draw();
  const ran = await allOrAbort(
    [signal],
    drawn.map(
      ({ text }) =>
        (stop: AbortSignal) =>
          run(text, stop),
    ),
    createLimiter(concurrency, name),
  );
  drawn.forEach(({ node }, i) => {
    const outcome = ran[i]!;
    if ('reason' in outcome) node.reason = outcome.reason;
    node.answer = 'stdout' in outcome && outcome.stdout.trim() !== '' ? extractAnswer(outcome.stdout.trim()) : null;
  });
  return finishVote(search, drawn, { none: `none of ${drawn.length} programs has an answer.` });
}

function isSandbox(value: unknown): boolean {
  const given = value as Partial<Sandbox> | null | undefined;
  return typeof given?.run === 'function' && Array.isArray(given.languages);
}

function failureOf({ stoppedBy, exitCode, signal, stderr }: SandboxResult): { reason: string } | undefined {
  if (stoppedBy !== null) return { reason: `program stopped: ${stoppedBy}` };
  if (exitCode === 0) return undefined;
  const lines = stderr.trim().split('\n');
  const said = lines.findLast((line) => /(Error|Exception)\b/.test(line)) ?? lines.at(-1)!;
  return { reason: `program failed (${signal ?? `exit code ${exitCode}`}): ${said.trim().slice(0, 200)}` };
}
