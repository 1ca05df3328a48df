import { custom, number, PosttrainError, type Prompt, type Verifier } from '@posttrain/interfaces';
import { rolloutShape } from './rollouts.js';

/** Options of every step that has what it makes verified. */
export const verifiedShape = {
  verifier: rolloutShape.verifier,
  /** A score of at least this is right. Default 1. */
  threshold: number({ default: 1 }),
};

/** The option of a verifier that may be left out. */
export const verifierOption = custom<Verifier>()(
  'a verifier ({ name, verify(requests) })',
  (value) => typeof (value as Partial<Verifier> | null)?.verify === 'function',
  { optional: true, settings: ({ name }) => name },
);

/** Scores of completions of one prompt, by a row with what the verifier needs; `null` where it cannot say. */
export async function scoresOf(
  verifier: Verifier,
  row: object,
  prompt: Prompt,
  completions: readonly string[],
  signal: AbortSignal,
): Promise<(number | null)[]> {
  const verdicts = await verifier.verify(
    completions.map((completion) => ({ prompt, completion, row: row as Readonly<Record<string, unknown>>, signal })),
  );
  if (verdicts.length === completions.length) return verdicts.map(({ score }) => score);
  const problem = `${verifier.name} returned ${verdicts.length} verdicts for ${completions.length} completions`;
  throw new PosttrainError('BAD_RESPONSE', problem);
}

/** Whether completions are right. One that cannot be scored is not. */
export async function areRight(
  ...[verifier, row, prompt, completions, signal, threshold]: [...Parameters<typeof scoresOf>, number]
): Promise<boolean[]> {
  const scores = await scoresOf(verifier, row, prompt, completions, signal);
  return scores.map((score) => score !== null && score >= threshold);
}
