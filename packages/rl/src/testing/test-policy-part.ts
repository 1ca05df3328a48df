import assert from 'node:assert/strict';
import { realize, referenceEngine, stopGradient, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';
import type { Aggregation } from '../aggregation/aggregation.js';
import type { Ratio } from '../ratio/ratio.js';
import type { Regulariser, RegulariserInputs } from '../regulariser/regulariser.js';
import type { Surrogate } from '../surrogate/surrogate.js';

/** The parts of a policy objective that are pure functions of tokens; advantages have `testAdvantage`. */
export interface PolicyParts {
  readonly ratio: Ratio;
  readonly surrogate: Surrogate;
  readonly aggregation: Aggregation;
  readonly regulariser: Regulariser;
}

/** Options of `testPolicyPart`. */
export interface TestPolicyPartOptions {
  /** Of a surrogate: whether its gradient on policy is the policy gradient, -A ∇ log π. Default true. */
  readonly policyGradient?: boolean;
  /** Of an aggregation: whether no completion's place matters. Default true; false where neighbours share a local batch. */
  readonly anyOrder?: boolean;
  /** Of a regulariser: whether it asks nothing of a policy that is its reference. Default: whether it needs one. */
  readonly zeroAtReference?: boolean;
  /** Largest difference, as a part of the largest number, that counts as rounding. Default 1e-5. */
  readonly tolerance?: number;
}

type Check = (what: string, body: () => void | Promise<void>) => void;
type Checks = {
  readonly [Kind in keyof PolicyParts]: (
    check: Check,
    part: PolicyParts[Kind],
    options: Required<TestPolicyPartOptions>,
  ) => void;
};

/** A step that both sides of a central difference lie off, a power of two. */
const STEP = 2 ** -12;
const ROWS = 4;
const TOKENS = 5;
/** Trained tokens of every completion; the last has none. */
const LENGTHS = [5, 3, 1, 0];

const engine = referenceEngine();
/** [ROWS, TOKENS] of a simple function of their places. */
const wave = (seed: number, scale = 1): number[] =>
  Array.from({ length: ROWS * TOKENS }, (_, i) => scale * Math.sin(1 + 3 * seed + 1.7 * i));
const maskOf = (): number[] =>
  LENGTHS.flatMap((length) => Array.from({ length: TOKENS }, (_, t) => (t < length ? 1 : 0)));
const matrix = (numbers: readonly number[], rows = ROWS): Tensor => tensor(Float32Array.from(numbers), [rows, TOKENS]);
const numbers = async (x: Tensor): Promise<number[]> => {
  await realize([x], { engine });
  return x.toArray();
};
const rowOf = (values: readonly number[], row: number): number[] => values.slice(row * TOKENS, (row + 1) * TOKENS);
const masked = (values: readonly number[]): number[] => values.map((x, i) => x * maskOf()[i]!);

function assertClose(found: readonly number[], wanted: readonly number[], tolerance: number, what: string): void {
  const size = Math.max(1e-3, ...wanted.map(Math.abs));
  found.forEach((value, i) => {
    assert.ok(Math.abs(value - wanted[i]!) <= tolerance * size, `${what}: number ${i} is ${value}, not ${wanted[i]}`);
  });
}

/** The derivative of a sum along a direction, by gradient and by central differences in float64. */
async function assertSlope(sumAt: (x: Tensor) => Tensor, at: readonly number[], tolerance: number): Promise<void> {
  const direction = wave(9);
  const moved = (by: number) => matrix(at).add(matrix(direction).mul(by));
  const value = async (by: number) => (await numbers(sumAt(moved(by))))[0]!;
  const difference = ((await value(STEP)) - (await value(-STEP))) / (2 * STEP);
  const gradient = await numbers(valueAndGrad((x: Tensor) => sumAt(x))(matrix(at)).gradient as Tensor);
  const slope = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0);
  const size = Math.max(Math.abs(difference), 1e-3);
  const isClose = Math.abs(slope - difference) <= 10 * tolerance * size;
  assert.ok(isClose, `the gradient is ${slope}, and the difference ${difference}`);
}

const CHECKS: Checks = {
  ratio(check, part, { tolerance }) {
    const logRatio = masked(wave(1, 0.4));
    const of = (given: readonly number[], how: Ratio['compute'] = part.compute) =>
      numbers(how.call(part, matrix(given), matrix(maskOf())));

    check('is 1 on policy, and a finite number of every token', async () => {
      assertClose(
        await of(logRatio.map(() => 0)),
        logRatio.map(() => 1),
        tolerance,
        'on policy',
      );
      const found = await of(logRatio);
      assert.equal(found.length, ROWS * TOKENS, 'one for each token');
      assert.ok(
        found.every((x) => Number.isFinite(x) && x >= 0),
        `it is ${found}`,
      );
      assert.deepEqual(await of(logRatio.map((x) => x)), found, 'asked again');
    });

    check(`depends on what its level (${part.level}) says`, async () => {
      const before = await of(logRatio);
      // The first token of the first completion becomes likelier.
      const after = await of(logRatio.map((x, i) => (i === 0 ? x + 0.3 : x)));
      const changed = before.map((x, i) => Math.abs(after[i]! - x) > 1e-9);
      const wanted = before.map((_, i) => (part.level === 'token' ? i === 0 : part.level === 'sequence' && i < TOKENS));
      assert.deepEqual(
        masked(changed.map(Number)),
        masked(wanted.map(Number)),
        'tokens whose ratio changes with that of one',
      );
      if (part.level !== 'sequence') return;
      for (const [row, length] of LENGTHS.entries()) {
        const own = rowOf(before, row).slice(0, length);
        assertClose(
          own,
          own.map(() => own[0]!),
          tolerance,
          `completion ${row} has one ratio`,
        );
      }
    });

    const { correct } = part;
    if (correct) {
      check(
        'corrects nothing where the sampler is the policy, each completion by itself, and without a gradient',
        async () => {
          assertClose(
            await of(
              logRatio.map(() => 0),
              correct,
            ),
            logRatio.map(() => 1),
            tolerance,
            'the same sampler',
          );
          const before = await of(logRatio, correct);
          const after = await of(
            logRatio.map((x, i) => (i === 0 ? x - 0.3 : x)),
            correct,
          );
          assertClose(after.slice(TOKENS), before.slice(TOKENS), 1e-9, 'other completions');
          const sumAt = (x: Tensor) => correct.call(part, x, matrix(maskOf())).sum();
          const gradient = await numbers(valueAndGrad(sumAt)(matrix(logRatio)).gradient as Tensor);
          assert.ok(
            gradient.every((g) => g === 0),
            'it has a gradient',
          );
        },
      );
    }
  },

  surrogate(check, part, { tolerance, policyGradient }) {
    const old = wave(2).map((x) => x - 2);
    // What is of whole completions has one advantage for each.
    const advantages = wave(3).map((a, i, all) => (part.level === 'sequence' ? all[i - (i % TOKENS)]! : a));
    const ones = matrix(old.map(() => 1));
    const ratioOf = (x: Tensor) => x.sub(matrix(old)).exp();
    const lossAt = (x: Tensor, given = advantages) =>
      part.compute({
        logProbs: x,
        ratio: part.needsRatio ? ratioOf(x) : stopGradient(ratioOf(x)),
        advantages: matrix(given),
        ...{ oldLogProbs: matrix(old), samplerLogProbs: matrix(old), mask: ones },
      });
    const slopesAt = async (at: readonly number[], given = advantages) =>
      numbers(valueAndGrad((x: Tensor) => lossAt(x, given).loss.sum())(matrix(at)).gradient as Tensor);
    const away = old.map((x, i) => x + 0.6 * Math.sin(5 * i + 2));

    check('is a finite number of every token, each by itself', async () => {
      const found = await numbers(lossAt(matrix(away)).loss);
      assert.equal(found.length, ROWS * TOKENS, 'one for each token');
      assert.ok(found.every(Number.isFinite), `it is ${found}`);
      const others = await numbers(lossAt(matrix(away.map((x, i) => (i === 0 ? x + 0.5 : x)))).loss);
      const own = part.level === 'sequence' ? TOKENS : 1;
      assertClose(others.slice(own), found.slice(own), 1e-9, 'of other tokens');
      const zero = await slopesAt(
        away,
        away.map(() => 0),
      );
      assert.ok(
        zero.every((g) => Math.abs(g) < 1e-9),
        'without an advantage it has a gradient',
      );
    });

    if (part.needsRatio) {
      check('has the gradient of its value', async () => {
        await assertSlope((x) => lossAt(x).loss.sum(), away, tolerance);
      });
    }

    check(policyGradient ? 'has the policy gradient on policy' : 'improves the policy on policy', async () => {
      const slopes = await slopesAt(old);
      if (policyGradient)
        assertClose(
          slopes,
          advantages.map((a) => -a),
          10 * tolerance,
          'the gradient by log π',
        );
      slopes.forEach((g, i) => {
        assert.ok(
          g * advantages[i]! < 0,
          `token ${i} becomes likelier with the slope ${-g}, its advantage is ${advantages[i]}`,
        );
      });
    });

    check('says which tokens are clipped: those have no gradient', async () => {
      const { clipped } = lossAt(matrix(away));
      if (!clipped) return;
      const slopes = await slopesAt(away);
      const ratios = await numbers(ratioOf(matrix(away)));
      for (const side of ['low', 'high'] as const) {
        const flags = await numbers(clipped[side].cast('float32'));
        assert.equal(flags.length, ROWS * TOKENS, `${side} is of every token`);
        flags.forEach((flag, i) => {
          if (!flag) return;
          assert.equal(Math.abs(slopes[i]!), 0, `token ${i} is clipped (${side}), and has a gradient`);
          assert.ok(
            side === 'low' ? ratios[i]! < 1 : ratios[i]! > 1,
            `token ${i} is clipped (${side}) at ${ratios[i]}`,
          );
        });
      }
    });
  },

  aggregation(check, part, { tolerance, anyOrder }) {
    const context = { maxCompletionLength: 8 };
    const of = (lengths: readonly number[]) => part.weights(Object.freeze([...lengths]), context);
    check('weighs every completion by a finite number, not below 0', () => {
      for (const lengths of [LENGTHS, [4], [0, 0], [8, 8, 8]]) {
        const weights = of(lengths);
        assert.equal(weights.length, lengths.length, 'one for each completion');
        const trained = weights.filter((_, i) => lengths[i]! > 0);
        assert.ok(weights.every(Number.isFinite) && trained.every((w) => w > 0), `of ${lengths} they are ${weights}`);
      }
      assert.deepEqual(of([]), [], 'a step without completions');
    });
    check('adds up to 1 at most where all losses are 1', () => {
      const total = (lengths: readonly number[]) => of(lengths).reduce((sum, w, i) => sum + w * lengths[i]!, 0);
      const most = context.maxCompletionLength;
      for (const lengths of [[3, 3], [2, 7, 5], [1]]) {
        assert.ok(total(lengths) <= most * (1 + tolerance), `of ${lengths} the weights add up to ${total(lengths)}`);
      }
      if (!anyOrder) return;
      // Twice the same completions are the same mean.
      const lengths = [2, 7, 5];
      const twice = total([...lengths, ...lengths]);
      assert.ok(
        Math.abs(twice - total(lengths)) <= tolerance * twice,
        `twice the completions: ${twice}, not ${total(lengths)}`,
      );
    });
    if (anyOrder) {
      check('does not see the order of completions', () => {
        const lengths = [2, 7, 5, 0, 4];
        assertClose(of([...lengths].reverse()), [...of(lengths)].reverse(), 1e-9, 'in another order');
      });
    }
  },

  regulariser(check, part, { tolerance, zeroAtReference }) {
    const [logProbs, reference] = [masked(wave(4).map((x) => x - 2)), masked(wave(5).map((x) => x - 2))];
    const [entropies, counts] = [wave(6).map((x) => x + 2), LENGTHS.reduce((a, b) => a + b)];
    const inputs = (x: Tensor, rows: readonly [number, number] = [0, ROWS], of = reference): RegulariserInputs => {
      const part_ = (given: readonly number[]) =>
        matrix(given.slice(rows[0] * TOKENS, rows[1] * TOKENS), rows[1] - rows[0]);
      return {
        ...{ logProbs: x, entropies: part_(entropies), oldLogProbs: part_(logProbs.map((p) => p)) },
        referenceLogProbs: part.needsReference ? part_(of) : undefined,
        ratio: x.sub(part_(logProbs)).exp(),
        weights: part_(maskOf().map((m) => m / 7)),
        tokenMean: part_(maskOf().map((m) => m / counts)),
        ...{ temperature: 1, annotations: {}, pass: undefined },
      };
    };
    const whole = (of = reference) => part.compute(inputs(matrix(logProbs), [0, ROWS], of));
    const scalarsOf = async ({
      loss,
      metrics,
    }: ReturnType<Regulariser['compute']>): Promise<Record<string, number>> => {
      const all = { ...metrics, ...(loss && { loss }) };
      const values = Object.entries(all).map(async ([name, x]) => {
        assert.deepEqual(x.shape, [], `${name} is a scalar`);
        return [name, (await numbers(x))[0]!] as const;
      });
      return Object.fromEntries(await Promise.all(values));
    };

    check('is finite, and a sum over completions', async () => {
      const found = await scalarsOf(whole());
      assert.ok(Object.values(found).every(Number.isFinite), JSON.stringify(found));
      const halves = [
        [0, 1],
        [1, ROWS],
      ] as const;
      const sums: Record<string, number> = {};
      for (const [from, to] of halves) {
        const own = matrix(logProbs.slice(from * TOKENS, to * TOKENS), to - from);
        for (const [name, x] of Object.entries(await scalarsOf(part.compute(inputs(own, [from, to]))))) {
          sums[name] = (sums[name] ?? 0) + x;
        }
      }
      const names = Object.keys(found);
      assertClose(
        names.map((name) => sums[name]!),
        names.map((name) => found[name]!),
        tolerance,
        `${names} of two halves`,
      );
    });

    check('does something: in the loss, in the reward, or both', () => {
      assert.ok(part.rewardPenalty !== undefined || whole().loss !== undefined, 'neither');
    });

    if (whole().loss) {
      check('has the gradient of its value', async () => {
        await assertSlope((x) => part.compute(inputs(x)).loss!, logProbs, tolerance);
      });
    }

    const { rewardPenalty } = part;
    if (rewardPenalty) {
      check('takes of a reward a sum over tokens', () => {
        const [old, others] = [rowOf(logProbs, 0), rowOf(reference, 0)];
        const each = old.map((x, t) => rewardPenalty.call(part, [x], [others[t]!]));
        const sum = each.reduce((a, b) => a + b, 0);
        assertClose([rewardPenalty.call(part, old, others)], [sum], 1e-9, 'of all tokens');
        assert.ok(Number.isFinite(rewardPenalty.call(part, [], [])), 'of no token');
        if (zeroAtReference) assertClose([rewardPenalty.call(part, old, old)], [0], 1e-9, 'at the reference');
      });
    }

    if (zeroAtReference) {
      check('asks nothing of a policy that is its reference', async () => {
        for (const [name, x] of Object.entries(await scalarsOf(whole(logProbs)))) assertClose([x], [0], 1e-9, name);
        assert.notDeepEqual(
          await scalarsOf(whole()),
          await scalarsOf(whole(logProbs)),
          'it does not see the reference',
        );
      });
    }
  },
};

/**
 * Registers the checks that every part of a policy objective must pass, with the test function of any framework:
 * `testPolicyPart(it, 'surrogate', () => clip())`, where the function makes a new one. They run on the reference engine, in float64.
 *
 * - a ratio is 1 on policy, of one token or one completion as its level says; a correction has no gradient;
 * - a surrogate is of every token by itself, has the gradient of its value, on policy the policy gradient, and none where it says that
 *   it clips;
 * - an aggregation gives weights above 0 whatever the lengths, and the same mean of completions that come twice;
 * - a regulariser is a sum over completions, has the gradient of its value, takes of a reward a sum over tokens, and asks nothing of
 *   its reference.
 */
export function testPolicyPart<Kind extends keyof PolicyParts>(
  it: (name: string, body: () => Promise<void>) => void,
  kind: Kind,
  make: () => PolicyParts[Kind],
  options: TestPolicyPartOptions = {},
): void {
  const part = make();
  const { needsReference = false } = part as Partial<Regulariser>;
  const { policyGradient = true, anyOrder = true, zeroAtReference = needsReference, tolerance = 1e-5 } = options;
  const check: Check = (what, body) => it(`the ${kind} ${part.name} ${what}`, async () => body());
  check('says what it was made with as plain data', () => {
    const settingsOf = (of: { readonly settings?: DecisiveSettings }) => of.settings ?? {};
    assert.ok(part.name !== '', 'it has a name');
    assert.deepEqual(JSON.parse(JSON.stringify(settingsOf(part))), settingsOf(part), 'settings are JSON');
    assert.deepEqual(settingsOf(make()), settingsOf(part), 'two of the same settings');
  });
  CHECKS[kind](check, part, { policyGradient, anyOrder, zeroAtReference, tolerance });
}
