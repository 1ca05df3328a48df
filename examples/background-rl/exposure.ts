// Exposure bias: what a policy does at its own prefixes, where it has been shown those of another alone.
import { Key } from '@posttrain/core-tensor';
import {
  type FiniteMdp,
  finiteMdp,
  mdpEnvironment,
  play,
  policyValues,
  softmaxPolicy,
  tablePolicy,
} from '@posttrain/rl';

/** Tokens 0 … PATH - 1 follow each other in a circle; the others are off the path, from which any of the path leads back. */
const [VOCABULARY, PATH, LENGTH] = [16, 4, 16];
const [BATCH, FIRST, THEN, RATE] = [16, 40, 160, 0.03];

const isRight = (before: number, token: number): boolean =>
  before < PATH ? token === (before + 1) % PATH : token < PATH;

/** Writing LENGTH tokens, of which each pays 1 where it is right: a state is a place and the token before it. */
const world: FiniteMdp = finiteMdp({
  ...{ name: 'circle', states: VOCABULARY * LENGTH, actions: VOCABULARY, gamma: 1 },
  start: Array.from({ length: VOCABULARY * LENGTH }, (_, state) => (state < PATH ? 1 / PATH : 0)),
  outcomes(state, action) {
    const [place, before] = [Math.floor(state / VOCABULARY), state % VOCABULARY];
    const next = place === LENGTH - 1 ? null : (place + 1) * VOCABULARY + action;
    return [{ probability: 1, reward: isRight(before, action) ? 1 : 0, next }];
  },
});

/** Whatever is off the path looks alike. */
const rowOf = (before: number): number => Math.min(before, PATH);

/** Logits of the next token, a row for each token of the path before it, and one for all others. */
type Table = readonly (readonly number[])[];

const tableOf = (logits: Table) => {
  const rows = softmaxPolicy(logits);
  return Array.from({ length: LENGTH * VOCABULARY }, (_, state) => rows[rowOf(state % VOCABULARY)]!);
};

/** The chance of a wrong token at each place, where the policy writes by itself. */
function errors(logits: Table): number[] {
  const table = tableOf(logits);
  const { visits } = policyValues(world, table);
  return Array.from({ length: LENGTH }, (_, place) =>
    Array.from({ length: VOCABULARY }, (__, before) => {
      const state = place * VOCABULARY + before;
      return visits[state]! * table[state]!.reduce((sum, p, token) => sum + (isRight(before, token) ? 0 : p), 0);
    }).reduce((a, b) => a + b, 0),
  );
}

/** The logits after a step along weighted scores of tokens. */
function stepped(
  logits: Table,
  pairs: readonly { readonly before: number; readonly token: number; readonly weight: number }[],
): Table {
  const policy = softmaxPolicy(logits);
  const moved = logits.map((row) => [...row]);
  for (const { before, token, weight } of pairs) {
    const row = rowOf(before);
    policy[row]!.forEach((p, a) => {
      moved[row]![a] = moved[row]![a]! + ((RATE * weight) / BATCH) * ((a === token ? 1 : 0) - p);
    });
  }
  return moved;
}

/** A step of maximum likelihood, of references whose tokens before are replaced by the policy's own with a probability. */
function likelihood(logits: Table, key: Key, own: number): Table {
  const policy = softmaxPolicy(logits);
  const pairs = Array.from({ length: BATCH }, (_, i) => {
    const uniforms = key.child(i).uniformHost(1 + 2 * LENGTH);
    const begun = Math.floor(PATH * uniforms[0]!);
    let before = begun;
    return Array.from({ length: LENGTH }, (__, t) => {
      const token = (begun + t + 1) % PATH;
      const pair = { before, token, weight: 1 };
      let left = uniforms[2 + 2 * t]!;
      const drawn = policy[rowOf(before)]!.findIndex((p) => {
        left -= p;
        return left < 0;
      });
      before = uniforms[1 + 2 * t]! < own && drawn >= 0 ? drawn : token;
      return pair;
    });
  });
  return stepped(logits, pairs.flat());
}

/** A step of REINFORCE, of rewards to go less their mean at that place. */
async function reinforce(logits: Table, seed: number): Promise<Table> {
  const policy = tablePolicy(world, tableOf(logits));
  const episodes = await play({ environment: mdpEnvironment(world), policy, episodes: BATCH, maxSteps: LENGTH, seed });
  const toGo = episodes.map(({ rewards }) => rewards.map((_, t) => rewards.slice(t).reduce((a, b) => a + b, 0)));
  const mean = toGo[0]!.map((_, t) => toGo.reduce((sum, own) => sum + own[t]! / BATCH, 0));
  return stepped(
    logits,
    episodes.flatMap(({ observations, actions }, i) =>
      observations.map((seen, t) => {
        return { before: seen[0]! % VOCABULARY, token: actions[t] as number, weight: 1 * (toGo[i]![t]! - mean[t]!) };
      }),
    ),
  );
}

export const ARMS = ['teacher forcing', 'scheduled sampling', 'REINFORCE'] as const;

/** The chance of a wrong token behind right ones (teacher-forced), and at each place of what the policy writes by itself. */
export async function exposure(arm: (typeof ARMS)[number], seed: number): Promise<{ forced: number; free: number[] }> {
  const key = Key.fromSeed(seed);
  let logits: Table = Array.from({ length: PATH + 1 }, () => new Array<number>(VOCABULARY).fill(0));
  for (let i = 0; i < FIRST; i++) logits = likelihood(logits, key.child(i), 0);
  for (let i = 0; i < THEN; i++) {
    // Linear decay, as in arXiv 1506.03099: from none of its own to three quarters.
    const own = arm === 'scheduled sampling' ? (0.75 * i) / THEN : 0;
    logits =
      arm === 'REINFORCE' ? await reinforce(logits, 1000 * seed + i) : likelihood(logits, key.child(FIRST + i), own);
  }
  const free = errors(logits);
  // At the first place all that is before is right.
  return { forced: free[0]!, free };
}
