import type { VerifyRequest } from '@posttrain/interfaces';
import { VerifierInputError } from '@posttrain/interfaces/verifiers';

/** How many tokens a completion has. @throws VerifierInputError when its generator did not say */
export function tokensOf(verifier: string, { tokenIds }: VerifyRequest): number {
  if (tokenIds) return tokenIds.length;
  throw new VerifierInputError(`${verifier} needs the token ids of completions, which the generator did not give.`);
}
