import { beforeEach, describe, expect, it } from 'vitest';
import {
  compile,
  currentEngine,
  type Engine,
  findNonFinite,
  Key,
  perEngine,
  realize,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
  withEngine,
} from '../src/index.js';
import { adamW } from '../src/optim/index.js';

/** A reference engine that counts what it is asked for; `may` says whether it may be asked at all. */
function counting(name: string, may = true): { readonly engine: Engine; readonly graphs: () => number } {
  let graphs = 0;
  const inner = referenceEngine();
  const engine: Engine = {
    ...inner,
    compile(graph, options) {
      if (!may) throw new Error(`${name} was given a graph that is somebody else's`);
      graphs++;
      return inner.compile(graph, options);
    },
    upload(data, spec) {
      if (!may) throw new Error(`${name} was given a tensor that is somebody else's`);
      return inner.upload(data, spec);
    },
  };
  return { engine, graphs: () => graphs };
}

/** A run of three kinds of work: a compiled step with an optimizer, eager reads of its results, and steps made while it runs. */
async function run(engine: Engine, seed: number, turn: () => Promise<void>): Promise<number[]> {
  const optimizer = adamW();
  const train = (state: { w: Tensor; inner: ReturnType<typeof optimizer.init> }, x: Tensor, rate: Tensor) => {
    const { value, gradient } = valueAndGrad((w: Tensor) => x.matmul(w).square().mean())(state.w);
    const { parameters, state: inner } = optimizer.update({ w: state.w }, { w: gradient as Tensor }, state.inner, rate);
    return { state: { w: parameters.w!, inner }, loss: value };
  };
  const step = withEngine(engine, () => compile(train, { donate: { 0: 'state' } }));
  const draw = (i: number, shape: [number, number]) =>
    tensor(
      Key.fromSeed(seed)
        .child(i)
        .normalHost(shape[0] * shape[1]),
      shape,
    );
  const w = draw(0, [3, 1]);
  let state = { w, inner: optimizer.init({ w }) };
  const losses: number[] = [];
  for (let i = 1; i <= 4; i++) {
    await turn();
    const { state: next, loss } = await step(state, draw(i, [2, 3]), tensor([0.1]).reshape([]));
    await turn();
    state = next;
    const eager = loss.mul(2);
    await realize([eager], { engine: 'operands' });
    losses.push(await eager.item());
    await turn();
    const doubled = await compile((x: Tensor) => x.mul(2), { engine })(loss);
    losses.push(await doubled.item());
  }
  const fresh = draw(9, [2, 2]).exp();
  await turn();
  await realize([fresh], { engine });
  return [...losses, ...(await fresh.toArray())];
}

describe('two runs on two engines, interleaved', () => {
  beforeEach(() => setEngine(referenceEngine()));

  /** Gives the turn to a run drawn at random; the engine that is set between turns is nobody's. */
  const schedule = (seed: number) => {
    const key = Key.fromSeed(seed);
    let turns = 0;
    return async () => {
      const [drawn] = key.child(turns++).uniformHost(1);
      for (let i = 0; i < Math.floor(drawn! * 5); i++) await new Promise<void>((resolve) => setImmediate(resolve));
    };
  };

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('never take each other’s, in any order (%i)', async (seed) => {
    const alone = async (runSeed: number) => {
      const { engine, graphs } = counting('alone');
      return { numbers: await run(engine, runSeed, async () => {}), graphs: graphs() };
    };
    const wanted = [await alone(1), await alone(2)];
    const [a, b] = [counting('a'), counting('b')];
    setEngine(counting('the one that is set', false).engine);
    const turn = schedule(seed);
    const numbers = await Promise.all([run(a.engine, 1, turn), run(b.engine, 2, turn)]);
    expect(numbers).toEqual(wanted.map((one) => one.numbers));
    expect([a.graphs(), b.graphs()]).toEqual(wanted.map((one) => one.graphs));
  });

  it('are kept apart where the engine that is set changes at every turn too', async () => {
    const [a, b] = [counting('a'), counting('b')];
    const others = [counting('x', false), counting('y', false)];
    let at = 0;
    const turn = async () => {
      setEngine(others[at++ % 2]!.engine);
      await new Promise<void>((resolve) => setImmediate(resolve));
    };
    const both = await Promise.all([run(a.engine, 1, turn), run(b.engine, 1, turn)]);
    expect(both[0]).toEqual(both[1]);
    expect(a.graphs()).toBe(b.graphs());
  });
});

describe('withEngine', () => {
  beforeEach(() => setEngine(referenceEngine()));

  it('gives what the body gives, and puts the engine back, also after an error', () => {
    const before = currentEngine();
    const other = referenceEngine();
    expect(withEngine(other, () => currentEngine())).toBe(other);
    expect(currentEngine()).toBe(before);
    expect(() =>
      withEngine(other, () => {
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(currentEngine()).toBe(before);
  });

  it('refuses a body that returns a promise, and says what to do', async () => {
    const before = currentEngine();
    const bodies: (() => Promise<unknown>)[] = [
      async () => 1,
      () => tensor([1]).add(1).data(),
      () => Promise.reject(new Error('lost')),
    ];
    for (const body of bodies) {
      expect(() => withEngine(referenceEngine(), body)).toThrow(
        expect.objectContaining({ code: 'ASYNC_BODY', message: expect.stringMatching(/compile.*engine.*setEngine/s) }),
      );
      expect(currentEngine()).toBe(before);
    }
    // The rejection of the last body is nobody's.
    await new Promise<void>((resolve) => setImmediate(resolve));
  });
});

describe('what holds an engine', () => {
  it('a compiled function, findNonFinite and perEngine compute on the one they were given', async () => {
    setEngine(counting('the one that is set', false).engine);
    const { engine, graphs } = counting('own');
    expect(await (await compile((x: Tensor) => x.add(1), { engine })(tensor([1]))).item()).toBe(2);
    expect(graphs()).toBe(1);
    expect(await findNonFinite((x: Tensor) => x.log(), [tensor([-1])], [], { engine })).toMatchObject({ op: 'log' });
    const steps = perEngine(() => ({ twice: compile((x: Tensor) => x.mul(2)) }));
    expect(await (await steps(engine).twice(tensor([3]))).item()).toBe(6);
    expect(steps(engine)).toBe(steps(engine));
    expect(steps(referenceEngine())).not.toBe(steps(engine));
  });

  it('an eager computation is on the engine that is set, or where its operands are if that is one place', async () => {
    const [a, b, set] = [counting('a'), counting('b'), counting('set')];
    setEngine(set.engine);
    const make = (engine: Engine) => compile((x: Tensor) => x.add(1), { engine })(tensor([1]));
    const [inA, inB] = [await make(a.engine), await make(b.engine)];
    const [there, both] = [inA.mul(3), inA.mul(inB)];
    await realize([there], { engine: 'operands' });
    expect(await there.item()).toBe(6);
    expect([a.graphs(), b.graphs(), set.graphs()]).toEqual([2, 1, 0]);
    await realize([both], { engine: 'operands' });
    expect(await both.item()).toBe(4);
    expect([a.graphs(), b.graphs(), set.graphs()]).toEqual([2, 1, 1]);
    expect(await inA.mul(3).item()).toBe(6);
    expect([a.graphs(), b.graphs(), set.graphs()]).toEqual([2, 1, 2]);
  });
});
