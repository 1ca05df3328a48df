import assert from 'node:assert/strict';
import { compile, realize, referenceEngine, scalar, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import type { Penalty } from '../trainer/penalty.js';
import { directionOf, drawing } from './kit-model.js';

/** Options of `testPenalty`. */
export interface TestPenaltyOptions {
  /** Whether it is 0, and flat, at the parameters that it is made with, and nowhere below. Default false. */
  readonly zeroAtAnchor?: boolean;
  /** Shapes of the parameters, by name. Default: a matrix and a vector. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** Largest difference, as a part of the largest number, that counts as rounding. Default 1e-4. */
  readonly tolerance?: number;
}

/** A step that both sides of a central difference lie off, a power of two. */
const STEP = 2 ** -10;

/**
 * Registers the checks that every penalty must pass, with the test function of any framework: `testPenalty(it, 'ewc', (parameters) =>
 * ewc({ … }), { zeroAtAnchor: true })`, where the function makes one for parameters that it may take for its anchors. They run on
 * the reference engine, in float64.
 *
 * - it is one finite number, and depends on the parameters;
 * - its gradient is that of its value, by central differences;
 * - it reads the tensors that it declares, and gets them as inputs: other numbers are no other graph;
 * - where it is declared so, it is 0 and flat at its anchor, and above 0 elsewhere.
 */
export function testPenalty(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  make: (parameters: Named) => Penalty | Promise<Penalty>,
  options: TestPenaltyOptions = {},
): void {
  const { zeroAtAnchor = false, shapes = { 'a.weight': [3, 4], 'b.bias': [5] }, tolerance = 1e-4 } = options;
  const engine = referenceEngine();
  const setUp = async () => {
    const draw = drawing(17);
    const anchors = Object.fromEntries(
      Object.entries(shapes).map(([key, shape]) => {
        const size = shape.reduce((a, b) => a * b, 1);
        return [
          key,
          tensor(
            Float32Array.from({ length: size }, () => 2 * draw() - 1),
            shape,
          ),
        ] as const;
      }),
    );
    const direction = directionOf(anchors);
    const elsewhere = mapNamed(anchors, (x, key) => x.add(direction[key]!.mul(2)));
    await realize(Object.values(elsewhere), { engine });
    return { penalty: await make(anchors), anchors, elsewhere, direction };
  };
  const check = (what: string, body: (parts: Awaited<ReturnType<typeof setUp>>) => Promise<void>) =>
    it(`the penalty ${name} ${what}`, async () => body(await setUp()));
  const at = async ({ compute, tensors = {} }: Penalty, parameters: Named) => {
    const value: Tensor = compute(parameters, tensors);
    assert.deepEqual(value?.shape, [], 'it is a scalar');
    await realize([value], { engine });
    return value.item();
  };
  const slopes = async ({ compute, tensors = {} }: Penalty, parameters: Named) => {
    const gradient = valueAndGrad((x: Named) => compute(x, tensors))(parameters).gradient as Named;
    await realize(Object.values(gradient), { engine });
    return Promise.all(Object.values(gradient).map((g) => g.toArray()));
  };

  check('is one finite number that depends on the parameters', async ({ penalty, anchors, elsewhere }) => {
    const values = [await at(penalty, anchors), await at(penalty, elsewhere)];
    assert.ok(values.every(Number.isFinite), `it is ${values}`);
    assert.notEqual(values[0], values[1], 'it is the same at other parameters');
  });

  check('has the gradient of its value', async ({ penalty, elsewhere, direction }) => {
    const moved = (by: number) => mapNamed(elsewhere, (x, key) => x.add(direction[key]!.mul(by)));
    const difference = ((await at(penalty, moved(STEP))) - (await at(penalty, moved(-STEP)))) / (2 * STEP);
    const along = await Promise.all(Object.values(direction).map((x) => x.toArray()));
    const gradient = await slopes(penalty, elsewhere);
    const slope = gradient.reduce((sum, g, i) => sum + g.reduce((s, x, j) => s + x * along[i]![j]!, 0), 0);
    const wrong = Math.abs(slope - difference);
    const size = Math.max(Math.abs(difference), 1e-3);
    assert.ok(wrong <= tolerance * size, `the gradient is ${slope}, and the difference ${difference}`);
  });

  check('reads the tensors that it declares, as inputs of its graph', async ({ penalty, elsewhere }) => {
    const { tensors = {} } = penalty;
    const read = new Set<string>();
    penalty.compute(
      elsewhere,
      new Proxy(tensors, {
        get: (own, key) => {
          read.add(String(key));
          return own[key as string];
        },
      }),
    );
    const undeclared = [...read].filter((key) => !(key in tensors));
    assert.deepEqual(undeclared, [], 'tensors that it reads and does not declare');
    let traced = 0;
    const graph = compile(
      (parameters: Named, given: Named) => {
        traced++;
        return penalty.compute(parameters, given);
      },
      { name: 'penalty', engine },
    );
    const first = await (await graph(elsewhere, tensors)).item();
    const others = mapNamed(tensors, (x) => x.mul(0.5).add(0.25));
    await realize(Object.values(others), { engine });
    const second = await (await graph(elsewhere, others)).item();
    assert.equal(traced, 1, 'other numbers make another graph');
    if (Object.keys(tensors).length > 0) assert.notEqual(second, first, 'its tensors are constants of its graph');
    const wanted = await at({ ...penalty, tensors: others }, elsewhere);
    assert.ok(Math.abs(second - wanted) <= tolerance * Math.max(1, Math.abs(wanted)), `with others ${second}`);
  });

  if (zeroAtAnchor) {
    check('is nothing at its anchor, and above 0 elsewhere', async ({ penalty, anchors, elsewhere }) => {
      const here = await at(penalty, anchors);
      assert.ok(Math.abs(here) <= 1e-12, `at its anchor it is ${here}`);
      const largest = Math.max(...(await slopes(penalty, anchors)).flat().map(Math.abs));
      assert.ok(largest <= 1e-6, `at its anchor it has the slope ${largest}`);
      assert.ok((await at(penalty, elsewhere)) > 0, 'elsewhere it is not above 0');
    });
  }

  check('is the same number again, and has the same slope with a factor', async ({ penalty, elsewhere }) => {
    assert.equal(await at(penalty, elsewhere), await at(penalty, elsewhere), 'computed again');
    const scaled: Penalty = { ...penalty, compute: (x, given) => penalty.compute(x, given).mul(scalar(3)) };
    const [once, thrice] = [await slopes(penalty, elsewhere), await slopes(scaled, elsewhere)];
    const largest = Math.max(...once.flat().map(Math.abs));
    assert.ok(largest > 0, 'its gradient is zero everywhere');
    thrice.flat().forEach((x, i) => {
      assert.ok(Math.abs(x - 3 * once.flat()[i]!) <= tolerance * largest, 'three times the penalty');
    });
  });
}
