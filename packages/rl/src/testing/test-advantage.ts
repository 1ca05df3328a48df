import assert from 'node:assert/strict';
import { savedState } from '@posttrain/training/testing';
import type { Advantage } from '../advantage/advantage.js';
import type { Rollout } from '../rollout.js';

/** Options of `testAdvantage`. */
export interface TestAdvantageOptions {
  /** Among which rollouts adding a number to all rewards changes nothing: those of a group, all of a step, or none. Default none. */
  readonly shiftInvariant?: 'group' | 'step' | 'none';
  /** Whether multiplying all rewards, of tokens and values too, by a positive number changes nothing. Default false. */
  readonly scaleInvariant?: boolean;
  /** Whether it reads rewards at all: one that does not is the same whatever they are, null too. Default true. */
  readonly readsRewards?: boolean;
  /** Largest difference that counts as rounding, or as the epsilon of a division. Default 1e-3. */
  readonly tolerance?: number;
  /** Fields of others that it needs (`extras.NAME`), of a rollout and its place. Default: none. */
  readonly extras?: (rollout: Rollout, place: number) => NonNullable<Rollout['extras']>;
}

const GROUPS = [3, 2, 4];

/** A step of rollouts with all that any advantage reads; numbers are simple functions of their places. */
function someRollouts(needs: Advantage['needs'] = [], extras?: TestAdvantageOptions['extras']): Rollout[] {
  let place = 0;
  return GROUPS.flatMap((size, group) =>
    Array.from({ length: size }, (): Rollout => {
      const i = place++;
      const completionTokens = Array.from({ length: 1 + ((i * 5) % 4) }, (_, t) => 1 + t);
      const numbers = (seed: number) => completionTokens.map((_, t) => Math.sin(1 + seed + 3 * i + 7 * t));
      const fields: Partial<Rollout> = {
        ...(needs.includes('values') && { values: numbers(1), endValue: Math.cos(i) }),
        ...(needs.includes('tokenRewards') && { tokenRewards: numbers(2) }),
        ...(needs.includes('turnRewards') && { turnRewards: [{ at: 0, reward: Math.cos(3 + i) }] }),
        ...(needs.includes('rewardsByFunction') && { rewards: { first: Math.cos(i), second: Math.sin(2 * i) } }),
        ...(needs.includes('baseline') && { baseline: Math.cos(5 + group) }),
      };
      const rollout: Rollout = {
        ...{ group, promptTokens: [group + 1], completionTokens, finishReason: i % 3 === 0 ? 'length' : 'stop' },
        ...{ reward: Math.sin(2 + 4 * i), oldLogProbs: numbers(3).map((x) => x - 1), ...fields },
      };
      return { ...rollout, ...(extras && { extras: extras(rollout, i) }) };
    }),
  );
}

type Computed = readonly (number | ArrayLike<number>)[];

/** One list of numbers for each rollout: of those that are trained. */
const perToken = (rollouts: readonly Rollout[], computed: Computed): number[][] =>
  rollouts.map(({ completionTokens }, i) => {
    const own = computed[i]!;
    return typeof own === 'number' ? completionTokens.map(() => own) : Array.from(own);
  });

function assertSame(found: readonly number[][], wanted: readonly number[][], tolerance: number, what: string): void {
  wanted.forEach((row, i) => {
    row.forEach((value, t) => {
      const difference = Math.abs(found[i]![t]! - value);
      assert.ok(difference <= tolerance, `${what}: rollout ${i}, token ${t}: ${found[i]![t]}, not ${value}`);
    });
  });
}

/** `value` and all in it, frozen. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(frozen);
  }
  return value;
}

/**
 * Registers the checks that every advantage must pass, with the test function of any framework:
 * `testAdvantage(it, () => leaveOneOut(), { shiftInvariant: 'group' })`, where the function makes a new one.
 *
 * - one finite number for each rollout, or one for each of its tokens, of no more than it declares to need;
 * - the order of rollouts and the numbers of groups do not matter, and nothing that is given is changed;
 * - a rollout that is not scorable has 0 and no part in the others', unless it reads no rewards;
 * - it has the invariances that it is said to have, and no other;
 * - with a state it goes on from what was saved as a checkpoint has it.
 */
export function testAdvantage(
  it: (name: string, body: () => Promise<void>) => void,
  make: () => Advantage,
  given: TestAdvantageOptions = {},
): void {
  const { shiftInvariant = 'none', scaleInvariant = false, readsRewards = true, tolerance = 1e-3, extras } = given;
  const { name, needs } = make();
  const compute = (rollouts: readonly Rollout[], advantage = make()) => perToken(rollouts, advantage.compute(rollouts));
  const check = (what: string, body: () => void | Promise<void>) =>
    it(`the advantage ${name} ${what}`, async () => body());

  check('gives each rollout a finite number, or one for each token', () => {
    const rollouts = frozen(someRollouts(needs, extras));
    const computed = make().compute(rollouts);
    assert.equal(computed.length, rollouts.length, 'one entry for each rollout');
    perToken(rollouts, computed).forEach((own, i) => {
      assert.equal(own.length, rollouts[i]!.completionTokens.length, `rollout ${i}: entries for its tokens`);
      assert.ok(own.every(Number.isFinite), `rollout ${i}: ${own}`);
    });
    assert.deepEqual(make().compute([]), [], 'a step without rollouts');
  });

  check('does not see the order of rollouts, nor the numbers of groups', () => {
    const rollouts = someRollouts(needs, extras);
    const order = rollouts.map((_, i) => (i * 4 + 2) % rollouts.length);
    const shuffled = order.map((i) => ({ ...rollouts[i]!, group: 10 - rollouts[i]!.group }));
    const wanted = compute(rollouts);
    assertSame(
      compute(shuffled),
      order.map((i) => wanted[i]!),
      1e-9,
      'in another order',
    );
  });

  if (!readsRewards) {
    check('does not read rewards', () => {
      const rollouts = someRollouts(needs, extras);
      const others = rollouts.map((rollout, i) => ({
        ...rollout,
        reward: i % 3 === 0 ? null : 3 * rollout.reward! + i,
      }));
      assertSame(compute(others), compute(rollouts), 0, 'with other rewards');
    });
  } else checkRewards();

  function checkRewards() {
    check('gives 0 to what is not scorable, which has no part in the others', () => {
      const rollouts = someRollouts(needs, extras).map((rollout, i) =>
        i % 4 === 1 ? { ...rollout, reward: null } : rollout,
      );
      const scorable = rollouts.filter(({ reward }) => reward !== null);
      const found = compute(rollouts);
      const wanted = [...compute(scorable)];
      assertSame(
        found,
        rollouts.map(({ reward, completionTokens }) =>
          reward === null ? completionTokens.map(() => 0) : wanted.shift()!,
        ),
        1e-9,
        'with rollouts that are not scorable',
      );
      const none = rollouts.map((rollout) => ({ ...rollout, reward: null }));
      assert.ok(
        compute(none)
          .flat()
          .every((value) => value === 0),
        'where nothing is scorable',
      );
    });

    check(`sees a number added to rewards unless to all of a ${shiftInvariant}`, () => {
      const rollouts = someRollouts(needs, extras);
      const added = (by: (rollout: Rollout) => number) =>
        compute(
          rollouts.map((rollout) => {
            const [own, reward] = [by(rollout), rollout.reward! + by(rollout)];
            const { first, second } = rollout.rewards ?? {};
            return {
              ...rollout,
              reward,
              ...(rollout.rewards && { rewards: { first: first! + own, second: second! + own } }),
            };
          }),
        );
      const of = { group: ({ group }: Rollout) => 1 + group, step: () => 2, none: () => 0 }[shiftInvariant];
      assertSame(added(of), compute(rollouts), tolerance, `shifted (${shiftInvariant})`);
      const wider = { group: undefined, step: ({ group }: Rollout) => 1 + group, none: () => 2 }[shiftInvariant];
      if (wider) assert.notDeepEqual(rounded(added(wider)), rounded(compute(rollouts)), 'more invariant than is said');
    });

    check(scaleInvariant ? 'does not see the scale of rewards' : 'sees the scale of rewards', () => {
      const times = (values: ArrayLike<number>) => Array.from(values, (x) => 3 * x);
      const rollouts = someRollouts(needs, extras);
      const scaled = rollouts.map((rollout) => ({
        ...rollout,
        reward: 3 * rollout.reward!,
        ...(rollout.values && { values: times(rollout.values), endValue: 3 * rollout.endValue! }),
        ...(rollout.tokenRewards && { tokenRewards: times(rollout.tokenRewards) }),
        ...(rollout.turnRewards && { turnRewards: rollout.turnRewards.map((x) => ({ ...x, reward: 3 * x.reward })) }),
        ...(rollout.baseline !== undefined && { baseline: 3 * rollout.baseline }),
        ...(rollout.rewards && { rewards: { first: 3 * rollout.rewards.first!, second: 3 * rollout.rewards.second! } }),
      }));
      if (scaleInvariant) assertSame(compute(scaled), compute(rollouts), tolerance, 'scaled');
      else assert.notDeepEqual(rounded(compute(scaled)), rounded(compute(rollouts)));
    });
  }

  check('goes on from its state, and says what it was made with as plain data', async () => {
    const first = make();
    assert.deepEqual(JSON.parse(JSON.stringify(first.settings ?? {})), first.settings ?? {}, 'settings are JSON');
    assert.equal(first.state === undefined, first.load === undefined, 'state and load come together');
    const rollouts = someRollouts(needs, extras);
    const once = compute(rollouts, first);
    assert.deepEqual(compute(rollouts), once, 'two of the same settings give the same');
    if (!first.state) {
      assert.deepEqual(compute(rollouts, first), once, 'without a state it gives the same again');
      return;
    }
    first.learn?.(rollouts);
    const second = make();
    await second.load!(await savedState(first.state()));
    assert.deepEqual(compute(rollouts, second), compute(rollouts, first), 'from a saved state');
  });
}

const rounded = (rows: readonly number[][]): number[][] =>
  rows.map((row) => row.map((value) => Math.round(value * 1e6) / 1e6));
