import { custom, type Given, integer, options, type Sandbox, type SandboxLimits, text } from '@posttrain/interfaces';
import { codeBlocks } from '@posttrain/interfaces/answers';
import { fill, generatorOption, promptsOption, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { areRight, verifiedShape } from '../steps/verified.js';

const PROMPTS = {
  thought: '{question}\nReason step by step, then give the answer.',
  program: '{question}\nWrite a {language} program that prints the answer, and nothing else. Write the program only.',
} as const;

const mammothOptions = options('mammoth', {
  generator: generatorOption,
  ...verifiedShape,
  /** Runs the programs. It must know `language`. */
  sandbox: custom<Sandbox>()('a sandbox', (value) => typeof (value as Partial<Sandbox> | null)?.run === 'function', {
    settings: ({ name }) => name,
  }),
  /** Default `'python'`. */
  language: text({ default: 'python' }),
  limits: custom<SandboxLimits>()('limits of a sandbox', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
  /** Solutions drawn of each kind. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `mammoth`. */
export type MammothOptions = Given<typeof mammothOptions>;

/** A question with a solution in words or as a program, which was run. */
export type MammothRow = {
  readonly prompt: string;
  readonly completion: string;
  readonly kind: 'thought' | 'program';
  readonly answer: string;
};

/** The code of a fenced block, the last of several; without a fence, all of it. */
export function programOf(completion: string): string {
  return (codeBlocks(completion).at(-1)?.code ?? completion).trim();
}

/**
 * MAmmoTH's hybrid of chains and programs of thought (arXiv 2309.05653): of every row with `prompt` and `answer` solutions in words and as programs. A program is run in the
 * sandbox, and what it prints is verified as an answer; a solution in words is verified itself. Those that are right stay, equal ones once; failures are warnings by kind.
 *
 * @throws OptionError; RowError for a row without prompt and answer; PosttrainError `BAD_RESPONSE`; what the sandbox throws where it does not isolate
 */
export function mammoth(given: MammothOptions) {
  const settings = mammothOptions.read(given);
  const { generator, verifier, threshold, sandbox, language, limits, samples } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  return synthesisStep<object, MammothRow>(
    'mammoth',
    JSON.stringify(mammothOptions.settings(given)),
    settings,
    async (row, ask, { signal, warn }, rowNumber) => {
      const question = textOf(row, 'prompt', rowNumber);
      const answer = textOf(row, 'answer', rowNumber);
      const made: { row: MammothRow; part: string }[] = [];
      for (const kind of ['thought', 'program'] as const) {
        const prompt = fill(prompts[kind], { question, language });
        const drawn = [...new Set(await ask.many(generator, prompt, kind, samples))];
        const stated: string[] = [];
        for (const one of drawn) {
          if (kind === 'thought') stated.push(one);
          else {
            const job = { language, code: programOf(one), signal, ...(limits && { limits }) };
            const { exitCode, stdout } = await sandbox.run(job);
            stated.push(exitCode === 0 ? stdout.trim() : '');
          }
        }
        const right = await areRight(verifier, row, question, stated, signal, threshold);
        drawn.forEach((completion, i) => {
          // What prints nothing has not answered, whatever the verifier makes of it.
          const counts = right[i] && stated[i] !== '';
          if (counts) made.push({ row: { prompt: question, completion, kind, answer }, part: `${kind} ${i}` });
          else warn(`a ${kind} is not right`);
        });
      }
      return made.length === 0 ? { drop: 'no solution is right' } : made;
    },
  );
}
