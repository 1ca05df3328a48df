import { DataOptionError } from '../errors.js';

/** A distribution over labels, which sums to 1. */
export type Probabilities = readonly number[];

/** −Σ p log p, in nats. */
export const entropyOf = (p: Probabilities): number =>
  -p.reduce((sum, one) => sum + (one > 0 ? one * Math.log(one) : 0), 0);

/** 1 − the highest probability (least confidence). */
export const leastConfidence = (p: Probabilities): number => 1 - Math.max(...p);

/** 1 − (the highest − the second highest): 1 where two are as likely. */
export function margin(p: Probabilities): number {
  const [first = 0, second = 0] = p.toSorted((a, b) => b - a);
  return 1 - (first - second);
}

/** The mean distribution of a committee. @throws DataOptionError for members with other numbers of labels */
export function consensus(members: readonly Probabilities[]): number[] {
  const labels = members[0]?.length ?? 0;
  if (labels === 0 || members.some((p) => p.length !== labels)) {
    throw new DataOptionError('consensus', 'a committee needs a member or more, all with as many labels.');
  }
  return Array.from({ length: labels }, (_, i) => members.reduce((sum, p) => sum + p[i]!, 0) / members.length);
}

/** BALD (arXiv 1112.5745): H(mean p) − mean H(p), what the label says about which member is right. Of a dropout model its passes are the members. */
export const bald = (members: readonly Probabilities[]): number =>
  entropyOf(consensus(members)) - members.reduce((sum, p) => sum + entropyOf(p), 0) / members.length;

/** The entropy of the votes, each member for its likeliest label (Dagan and Engelson 1995). */
export function voteEntropy(members: readonly Probabilities[]): number {
  const votes = consensus(members).map((_, i) => members.filter((p) => p.indexOf(Math.max(...p)) === i).length);
  return entropyOf(votes.map((count) => count / members.length));
}

/** The entropy of the mean distribution. */
export const consensusEntropy = (members: readonly Probabilities[]): number => entropyOf(consensus(members));

/** The highest divergence KL(member ‖ mean) of a member (McCallum and Nigam 1998, as modAL takes it). */
export function maxDisagreement(members: readonly Probabilities[]): number {
  const mean = consensus(members);
  return Math.max(
    ...members.map((p) => p.reduce((sum, one, i) => sum + (one > 0 ? one * Math.log(one / mean[i]!) : 0), 0)),
  );
}

/** Measures of how much a label would say, by name: higher is more. Those of one model look at the consensus of several. */
export const uncertaintyMeasures = {
  leastConfidence: (members: readonly Probabilities[]) => leastConfidence(consensus(members)),
  margin: (members: readonly Probabilities[]) => margin(consensus(members)),
  entropy: consensusEntropy,
  bald,
  voteEntropy,
  consensusEntropy,
  maxDisagreement,
} as const;
/** A name of `uncertaintyMeasures`. */
export type UncertaintyMeasure = keyof typeof uncertaintyMeasures;
