import type { Sandbox } from '@posttrain/interfaces';
import { type Demonstration, NoCandidateError } from '@posttrain/tts';
import { mulberry32, type Random, renderExpression } from '../../pretrain-tiny/problem.js';
import { FORMAT_ARMS } from './arms.js';
import { recordingAuthor, type Said } from './author.js';
import { randomSum, renderStep, resultOf } from './problems.js';

/** Runs nothing: what a program is answered with is no row. */
const closed: Sandbox = {
  ...{ name: 'closed', languages: ['javascript'], commands: false },
  run: async () => ({
    ...{ exitCode: 1, stoppedBy: null, stdout: '', stderr: '', wallMs: 0 },
    ...{ stdoutTruncated: false, stderrTruncated: false },
  }),
  probe: async () => ({ sandbox: 'closed', checks: [], ok: true }),
};

/** Two training problems with their chains, worked out without a mistake. */
export function demonstrationsOf(random: Random): Demonstration[] {
  return Array.from({ length: 2 }, () => {
    const problem = randomSum(random, 'train');
    let total = problem.first;
    const steps = problem.rest.map(({ operator, operand }) => {
      const step = { total, operator, operand };
      total = resultOf(step);
      return renderStep(step, total);
    });
    return { question: renderExpression(problem), reasoning: `${steps.join(', ')}.`, answer: String(total) };
  });
}

/**
 * The corpus: `runs` training problems by each strategy over the author, as what was asked and answered. By format, each shuffled in
 * among the others.
 */
export async function formatRows(runs: number, seed: number): Promise<Said[]> {
  const random = mulberry32(seed);
  const rows: Said[] = [];
  for (const { run, share = 1 } of Object.values(FORMAT_ARMS)) {
    const { generator, said } = recordingAuthor(random);
    for (let i = 0; i < runs * share; i += 16) {
      const problems = Array.from({ length: Math.min(16, runs * share - i) }, () => randomSum(random, 'train'));
      for (const problem of problems) {
        const setting = {
          generator,
          sandbox: closed,
          demonstrations: demonstrationsOf(random),
          seed: i,
          temperature: 1,
        };
        await run(problem, setting).catch((error: unknown) => {
          if (!(error instanceof NoCandidateError)) throw error;
        });
      }
    }
    rows.push(...said);
  }
  for (let i = rows.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [rows[i], rows[j]] = [rows[j]!, rows[i]!];
  }
  return rows;
}
