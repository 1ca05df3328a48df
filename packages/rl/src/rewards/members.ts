import { custom, PosttrainError, type Verdict, type Verifier, type VerifyRequest } from '@posttrain/interfaces';

/** Whether a value is a verifier. */
export const isVerifier = (value: unknown): boolean =>
  typeof (value as Partial<Verifier> | null)?.verify === 'function';

/** A verifier that another one asks. */
export const verifierOption = custom<Verifier>()('a verifier ({ name, verify(requests) })', isVerifier, {
  settings: ({ name }) => name,
});

/** Verifiers that another one asks, at least one. */
export const verifiersOption = custom<readonly Verifier[]>()(
  'a list of verifiers, at least one',
  (value) => Array.isArray(value) && value.length > 0 && value.every(isVerifier),
  { settings: (verifiers) => verifiers.map(({ name }) => name).join(', ') },
);

/** What a verifier says, one verdict a request. @throws PosttrainError BAD_RESPONSE */
export async function verdictsOf(verifier: Verifier, requests: readonly VerifyRequest[]): Promise<Verdict[]> {
  const verdicts = await verifier.verify(requests);
  if (verdicts.length === requests.length) return verdicts;
  const problem = `${verifier.name} returned ${verdicts.length} verdicts for ${requests.length} completions`;
  throw new PosttrainError('BAD_RESPONSE', problem);
}

/** The scores of a completion's steps. @throws PosttrainError STEP_SCORES where the verifier gives none */
export function stepScoresOf({ name }: Verifier, { stepScores }: Verdict): readonly number[] {
  if (stepScores) return stepScores;
  const remedy = 'take one of steps, as tokenClassifier.verifier({ stepTag })';
  throw new PosttrainError('STEP_SCORES', `${name} gives no stepScores: ${remedy}`);
}
