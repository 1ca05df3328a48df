import { grad, stopGradient } from '../autodiff/grad.js';
import { compile } from '../compile.js';
import { full, iota, scalar, tensor, zeros } from '../create.js';
import { DTYPES, decodeNumbers } from '../dtype.js';
import { setEngine } from '../engines/current.js';
import type { Engine } from '../engines/engine.js';
import { referenceEngine } from '../engines/reference/engine.js';
import { Key, randomBits, uniform } from '../random/random.js';
import { threefryBits } from '../random/threefry-bits.js';
import { realize } from '../realize.js';
import { fromHost, type Tensor } from '../tensor.js';
import { given, sample } from './case.js';
import { expectClose } from './check-case.js';
import { onEngine } from './on-engine.js';

/** One promise of the `Engine` interface. `check` runs with the engine set, and throws when the promise is broken. */
export interface ContractCheck {
  readonly name: string;
  readonly check: (engine: Engine) => Promise<void>;
}

const reference = referenceEngine();

/** Fresh memory with the same numbers every time. */
const values = (shape: readonly number[], seed = 0): Tensor =>
  fromHost(sample(shape, 'float32', { seed }).data.slice(), shape, 'float32');

async function expectTensor(
  what: string,
  got: Tensor,
  wanted: readonly number[] | Tensor,
  tolerance = 1e-6,
): Promise<void> {
  expectClose(
    what,
    await got.toArray(),
    Array.isArray(wanted) ? wanted : await (wanted as Tensor).toArray(),
    tolerance,
  );
}

function expectEqual(what: string, got: unknown, wanted: unknown): void {
  if (got !== wanted) throw new Error(`${what} is ${String(got)}, not ${String(wanted)}`);
}

async function expectRejection(what: string, work: Promise<unknown>, pattern: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  if (!error) throw new Error(`${what} did not fail`);
  if (!pattern.test(error.message)) throw new Error(`${what} failed with "${error.message}"`, { cause: error });
}

const buffers: readonly ContractCheck[] = [
  {
    name: 'upload and read give the bits back, for every dtype',
    check: async (engine) => {
      for (const dtype of DTYPES) {
        for (const shape of [[2, 3], [], [0, 4], [100]]) {
          const { data } = sample(shape, dtype);
          const buffer = await engine.upload(data.slice(), { shape, dtype });
          const back = await engine.read(buffer);
          expectClose(`${dtype} [${shape}]`, decodeNumbers(back, dtype), decodeNumbers(data, dtype), 0);
        }
      }
    },
  },
  {
    name: 'an array given to tensor() is never written to',
    check: async () => {
      const data = Float32Array.of(1, 2, 3);
      const add = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      await (await add(tensor(data))).state.data();
      expectClose('the array', data, [1, 2, 3], 0);
    },
  },
  {
    name: 'numbers that were read stay as they were when the tensor is donated',
    check: async () => {
      const add = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      const { state } = await add(values([5]));
      const before = await state.data();
      const copy = Array.from(before);
      await (await add(state)).state.data();
      expectClose('the array read before', before, copy, 0);
    },
  },
  {
    name: 'results of earlier runs stay valid, also after dispose',
    check: async () => {
      const double = compile((x: Tensor) => x.mul(2));
      const results: Tensor[] = [];
      for (let i = 0; i < 5; i++) results.push(await double(tensor([i, -i])));
      await double.dispose();
      for (const [i, result] of results.entries()) await expectTensor(`run ${i}`, result, [2 * i, -2 * i]);
      await expectTensor('a run after dispose', await double(tensor([7, 8])), [14, 16]);
      await double.dispose();
    },
  },
  {
    name: 'tensors move between engines and back',
    check: async (engine) => {
      const made = await compile((x: Tensor) => x.mul(3))(tensor([1, 2]));
      const there = await compile((x: Tensor) => x.add(1), { engine: reference })(made);
      await expectTensor('on reference', there, [4, 7]);
      await expectTensor('and back', await compile((x: Tensor, y: Tensor) => x.mul(y))(there, made), [12, 42]);
      for (const dtype of DTYPES) {
        const { data, shape } = sample([70], dtype);
        const wanted = decodeNumbers(data, dtype);
        const moved = fromHost(data.slice(), shape, dtype);
        await realize([moved.reshape([7, 10])]);
        for (const home of [reference, engine]) {
          const again = moved.reshape([7, 10]);
          await realize([again], { engine: home });
          expectEqual(`${dtype} is there`, homeOf(again)?.name, home.name);
          await expectTensor(`${dtype} on ${home.name}`, again, Array.from(wanted), 0);
        }
      }
    },
  },
];

/** The engine in whose memory a realised tensor is. */
const homeOf = (x: Tensor): Engine | undefined =>
  (x.value.node.attributes as { storage: { device?: { engine: Engine } } }).storage.device?.engine;

const outputs: readonly ContractCheck[] = [
  {
    name: 'an input can be an output, with memory of its own',
    check: async () => {
      const echo = compile((x: Tensor) => ({ same: x, stopped: stopGradient(x), flat: x.reshape([4]) }));
      const add = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      const x = values([2, 2]);
      const wanted = await x.toArray();
      const { same, stopped, flat } = await echo(x);
      await add(same);
      await add(flat);
      await expectTensor('the input', x, wanted);
      await expectTensor('the other output', stopped, wanted);
    },
  },
  {
    name: 'one value returned twice gives two tensors',
    check: async () => {
      const twice = compile((x: Tensor) => {
        const y = x.mul(2);
        return { a: y, b: y, c: x.mul(2) };
      });
      const add = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      const { a, b, c } = await twice(tensor([1, 2]));
      await expectTensor('a + 1', (await add(a)).state, [3, 5]);
      await expectTensor('b', b, [2, 4]);
      await expectTensor('c', c, [2, 4]);
    },
  },
  {
    name: 'lazy handles on one value do not share memory that is donated',
    check: async () => {
      const x = await compile((v: Tensor) => v.mul(2))(tensor([1, 2]));
      const [a, b] = [stopGradient(x), stopGradient(x)];
      await realize([a, b]);
      const add = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      await add(a);
      await expectTensor('b', b, [2, 4]);
      await expectTensor('x', x, [2, 4]);
    },
  },
  {
    name: 'constants can be outputs',
    check: async () => {
      const constants = compile(() => ({ a: full([2], 3), b: iota([3]), c: tensor([5, 6]), d: zeros([0, 2]) }));
      for (let run = 0; run < 2; run++) {
        const { a, b, c, d } = await constants();
        await expectTensor('full', a, [3, 3]);
        await expectTensor('iota', b, [0, 1, 2]);
        await expectTensor('data', c, [5, 6]);
        await expectTensor('empty', d, []);
      }
    },
  },
];

const compilation: readonly ContractCheck[] = [
  {
    name: 'a function is traced once per signature and plain value',
    check: async () => {
      const scale = compile((x: Tensor, by: number, plus: Tensor) => x.mul(by).add(plus));
      for (const plus of [1, 2, 3])
        await expectTensor('result', await scale(tensor([1, 2]), 2, scalar(plus)), [2 + plus, 4 + plus]);
      expectEqual('traces for one signature', scale.traces, 1);
      await scale(tensor([1, 2, 3]), 2, scalar(1));
      expectEqual('traces after another shape', scale.traces, 2);
      await scale(tensor([1, 2]), 3, scalar(1));
      expectEqual('traces after another number', scale.traces, 3);
      await scale(tensor([1, 2]), 2, scalar(1));
      expectEqual('traces after what was known', scale.traces, 3);
      await scale.dispose();
    },
  },
  {
    name: 'captured tensors are inputs or constants, and stay so',
    check: async () => {
      const small = tensor([1, 2]);
      const large = values([100]);
      const numbers = await large.toArray();
      const f = compile((x: Tensor) => ({ small: small.mul(x), large: large.mul(x) }));
      const g = compile((x: Tensor) => x.add(1));
      for (const factor of [2, 3]) {
        const result = await f(scalar(factor));
        await expectTensor('small', result.small, [factor, 2 * factor]);
        await expectTensor(
          'large',
          result.large,
          numbers.map((x) => x * factor),
        );
        // Uses the captured tensors elsewhere, which may move them to the engine.
        await g(small);
        await g(large);
      }
    },
  },
  {
    name: 'a captured tensor that was donated elsewhere is refused',
    check: async () => {
      const large = values([100]);
      const f = compile((x: Tensor) => large.mul(x));
      const consume = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      await f(scalar(1));
      await consume(large);
      await expectRejection('the call', f(scalar(1)), /donated/);
      const own = values([100]);
      const both = compile((state: Tensor) => ({ state: state.add(own) }), { donate: { 0: 'state' } });
      await expectRejection('capturing and donating one tensor', both(own), /same tensor|donated/);
    },
  },
  {
    name: 'calls made together run in order, across functions',
    check: async () => {
      const square = compile((x: Tensor) => x.mul(x));
      const many = await Promise.all([1, 2, 3, 4, 5].map((x) => square(tensor([x, x + 1]))));
      for (const [i, y] of many.entries()) await expectTensor(`call ${i}`, y, [(i + 1) ** 2, (i + 2) ** 2]);
      const total = compile((x: Tensor) => x.sum());
      const step = compile((state: Tensor) => ({ state: state.mul(0) }), { donate: { 0: 'state' } });
      for (let run = 0; run < 5; run++) {
        const x = await compile((v: Tensor) => v.add(1))(zeros([50_000]));
        const [sum] = await Promise.all([total(x), step(x)]);
        expectEqual('the sum before the donation', await sum.item(), 50_000);
      }
    },
  },
  {
    name: 'the engine is the one that was set when the function was made',
    check: async (engine) => {
      const double = compile((x: Tensor) => x.mul(2));
      setEngine(reference);
      const there = compile((x: Tensor) => x.mul(2));
      const pending = double(tensor([1]));
      setEngine(engine);
      const results = [await pending, await there(tensor([1])), await double(tensor([1]))];
      const names = results.map((x) => homeOf(x)?.name).join();
      expectEqual('the engines', names, [engine.name, reference.name, engine.name].join());
    },
  },
  {
    name: 'a call that fails leaves the function usable',
    check: async () => {
      const f = compile((x: Tensor) => x.reshape([2, 2]));
      await expectRejection('a wrong shape', f(tensor([1, 2, 3])), /reshape/);
      await expectTensor('the next call', await f(tensor([1, 2, 3, 4])), [1, 2, 3, 4]);
      expectEqual('traces', f.traces, 1);
    },
  },
  {
    name: 'graphs of 3,000 nodes compile, run and differentiate',
    check: async () => {
      const deep = (x: Tensor) => {
        let y = x;
        for (let i = 0; i < 1000; i++) y = i % 2 === 0 ? y.mul(1.001) : y.add(0.001).sin();
        return y;
      };
      const wide = (x: Tensor) => {
        const terms = Array.from({ length: 750 }, (_, i) => x.mul(1 + i / 1000));
        return terms.reduce((a, b) => a.add(b));
      };
      const f = (x: Tensor) => deep(x).sum().add(wide(x).sum());
      const x = () => tensor([0.3, -0.2]);
      const run = () => compile((v: Tensor) => ({ value: f(v), gradient: grad(f)(v) }))(x());
      const wanted = await onEngine(reference, run);
      const got = await run();
      await expectTensor('value', got.value, wanted.value, 1e-4);
      await expectTensor('gradient', got.gradient, wanted.gradient, 1e-4);
      // The slope of the wide part is known: Σ (1 + i / 1000).
      const slope = await compile((v: Tensor) => grad((t: Tensor) => wide(t).sum())(v))(x());
      await expectTensor('slope', slope, [750 + (750 * 749) / 2000, 750 + (750 * 749) / 2000], 1e-4);
    },
  },
];

const randomness: readonly ContractCheck[] = [
  {
    name: 'randomBits are those of Threefry-2x32, bit for bit',
    check: async () => {
      for (const key of [
        [0, 0],
        [-1, -1],
        [0x13198a2e, 0x03707344],
      ]) {
        const sizes = [0, 1, 2, 3, 64, 1001];
        const drawn = sizes.map((size) => randomBits(tensor(given(key, 'int32').data, [2], 'int32'), [size]));
        await realize(drawn);
        for (const [i, size] of sizes.entries()) {
          expectClose(`key ${key}, ${size} words`, await drawn[i]!.data(), threefryBits(key, size), 0);
        }
      }
    },
  },
  {
    name: 'uniform numbers equal those drawn on the host, as a constant key and as an input',
    check: async () => {
      const key = Key.fromSeed(42).child(3);
      const draw = compile((k: Tensor) => uniform(k, [3, 33]));
      const wanted = Array.from(key.uniformHost(99));
      await expectTensor('from an input', await draw(key.toTensor()), wanted, 0);
      await expectTensor('from a constant', uniform(key.toTensor(), [3, 33]), wanted, 0);
    },
  },
];

/** What an engine promises beyond the values of single operations; donation has checks of its own. */
export const generalChecks: readonly ContractCheck[] = [...buffers, ...outputs, ...compilation, ...randomness];
