import { compile } from '../compile.js';
import { iota, tensor } from '../create.js';
import { referenceEngine } from '../engines/reference/engine.js';
import { type CachedAttentionConfig, cachedAttention } from '../kernels/attention.js';
import { softmax } from '../kernels/softmax.js';
import { adamW } from '../optim/adamw.js';
import { concat, fromHost, type Tensor, where } from '../tensor.js';
import { sample } from './case.js';
import { expectClose } from './check-case.js';
import type { ContractCheck } from './contract.js';
import { onEngine } from './on-engine.js';

type State = Readonly<Record<string, Tensor>>;
type Step = (state: State) => { state: State; extra: Record<string, Tensor> };

const fresh = (shape: readonly number[], seed: number): Tensor =>
  fromHost(sample(shape, 'float32', { seed }).data.slice(), shape, 'float32');

const initial = (): State => ({ a: fresh([4, 4], 0), b: fresh([4, 4], 1) });

/** Numbers of every output of `steps` calls, each fed the state of the one before. */
async function trajectory(step: Step, donate: boolean, make: () => State, steps: number): Promise<number[]> {
  const run = compile(step, donate ? { donate: { 0: 'state' } } : {});
  let state = make();
  const extras: Tensor[] = [];
  for (let i = 0; i < steps; i++) {
    const result = await run(state);
    state = result.state;
    extras.push(...Object.values(result.extra));
  }
  // Read at the end: what a step returned must survive the steps after it.
  const numbers: number[] = [];
  for (const x of [...Object.values(state), ...extras]) numbers.push(...(await x.toArray()));
  await run.dispose();
  return numbers;
}

/** With donation the engine must give what the reference engine gives without. */
const unchanged = (name: string, step: Step, make: () => State = initial, steps = 4): ContractCheck => ({
  name: `donation: ${name}`,
  check: async (engine) => {
    const wanted = await onEngine(referenceEngine(), () => trajectory(step, false, make, steps));
    expectClose(name, await onEngine(engine, () => trajectory(step, true, make, steps)), wanted, 1e-4);
  },
});

/** New values of a donated matrix that read it in every way, not only element by element. */
const READERS: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  'add a number': (x) => x.add(1),
  'twice itself': (x) => x.mul(x).mul(0.3),
  'its transpose': (x) => x.transpose(),
  'plus its transpose': (x) => x.add(x.transpose()).mul(0.5),
  'plus its last row': (x) => x.add(x.slice(0, 3, 4)).mul(0.5),
  'plus its first row': (x) => x.add(x.slice(0, 0, 1)).mul(0.5),
  'rows turned': (x) => concat([x.slice(0, 3), x.slice(0, 0, 3)], 0),
  'rows gathered': (x) => x.gather(tensor([3, 3, 0, 1], [4], 'int32'), 0),
  'elements taken': (x) => x.takeAlongAxis(iota([4, 4], 1).mul(-1).add(3), 1),
  'running sum': (x) => x.cumsum(0).mul(0.5),
  'running sum in reverse': (x) => x.cumsum(1, { reverse: true }).mul(0.5),
  'times its sum': (x) => x.mul(x.sum()).mul(0.1),
  'minus its row means': (x) => x.sub(x.mean(1, { keepDims: true })).add(0.1),
  'matrix square': (x) => x.matmul(x).mul(0.2),
  'matrix times transpose': (x) => x.matmul(x, { transposeB: true }).mul(0.2),
  softmax: (x) => softmax(x.mul(3)),
  'put a row': (x) => x.putAlongAxis(iota([1, 4], 0).add(2), x.slice(0, 0, 1).neg(), 0),
  'padded and cut': (x) => x.pad(0, 1, 0).slice(0, 0, 4),
  'where positive': (x) => where(x.less(0), x.transpose(), x),
  'reshaped there and back': (x) => x.reshape([2, 8]).transpose().reshape([4, 4]),
  'a long chain': (x) => x.add(1).sin().mul(x).add(x.transpose()).tanh(),
};

interface CacheOptions extends CachedAttentionConfig {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly width: number;
  /** Tokens in the cache of each row before the first one-token step. */
  readonly lengths: readonly number[];
  /** One-token steps; with the longest row they fill the cache. */
  readonly steps: number;
}

/** Fills a donated cache by a prompt of ragged length, then token by token, and gives everything computed. */
async function decode(donate: boolean, options: CacheOptions): Promise<number[]> {
  const { heads, keyValueHeads, width, lengths, steps, scale, slidingWindow } = options;
  const rows = lengths.length;
  const prompt = Math.max(...lengths);
  const capacity = prompt + steps;
  const config = { scale, ...(slidingWindow === undefined ? {} : { slidingWindow }) };
  const attend = compile(
    (cache: { keys: Tensor; values: Tensor }, q: Tensor, k: Tensor, v: Tensor, past: Tensor) => {
      const { output, keys, values } = cachedAttention(
        { q, k, v, pastKeys: cache.keys, pastValues: cache.values, lengths: past },
        config,
      );
      return { output, cache: { keys, values } };
    },
    donate ? { donate: { 0: 'cache' } } : {},
  );
  const size = rows * keyValueHeads * capacity * width;
  // What is in the cache beyond a row's own tokens must never be seen.
  const garbage = () => fromHost(new Float32Array(size).fill(50), [rows, keyValueHeads, capacity, width], 'float32');
  let cache = { keys: garbage(), values: garbage() };
  const outputs: Tensor[] = [];
  for (let step = prompt > 0 ? -1 : 0; step < steps; step++) {
    const tokens = step < 0 ? prompt : 1;
    const make = (count: number, seed: number) => fresh([rows, count, tokens, width], seed + 3 * step);
    const past = lengths.map((length) => (step < 0 ? 0 : length + step));
    const result = await attend(
      cache,
      make(heads, 3),
      make(keyValueHeads, 4),
      make(keyValueHeads, 5),
      tensor(past, [rows], 'int32'),
    );
    cache = result.cache;
    // A prompt's padding attends to whatever is there; only real tokens count.
    outputs.push(step < 0 ? result.output.slice(2, 0, Math.max(1, Math.min(...lengths))) : result.output);
  }
  const numbers: number[] = [];
  for (const x of [...outputs, cache.keys, cache.values]) numbers.push(...(await x.toArray()));
  await attend.dispose();
  return numbers;
}

const decoding = (name: string, options: CacheOptions): ContractCheck => ({
  name: `donation: a key-value cache, ${name}`,
  check: async (engine) => {
    const wanted = await onEngine(referenceEngine(), () => decode(false, options));
    expectClose(name, await onEngine(engine, () => decode(true, options)), wanted, 1e-5);
  },
});

const SMALL: CacheOptions = { heads: 2, keyValueHeads: 2, width: 8, scale: 0.35, lengths: [3, 1, 2], steps: 4 };

/** A donated optimizer step, as trainers make it. */
function adamStep(state: State): ReturnType<Step> {
  const optimizer = adamW({ weightDecay: 0.1 });
  const { w, step, mean, square } = state as Record<'w' | 'step' | 'mean' | 'square', Tensor>;
  const updated = optimizer.update(
    { w },
    { w: w.sub(0.5) },
    { step, mean: { w: mean }, square: { w: square } },
    tensor(0.1),
  );
  return {
    state: {
      w: updated.parameters.w!,
      step: updated.state.step,
      mean: updated.state.mean.w!,
      square: updated.state.square.w!,
    },
    extra: { loss: w.sub(0.5).square().sum() },
  };
}

const adamState = (): State => ({
  w: fresh([4, 4], 3),
  step: tensor(0, [], 'int32'),
  mean: fromHost(new Float32Array(16), [4, 4], 'float32'),
  square: fromHost(new Float32Array(16), [4, 4], 'float32'),
});

const only = (state: State): ReturnType<Step> => ({ state, extra: {} });

/** Donation must never change a number, in place or not. */
export const donationChecks: readonly ContractCheck[] = [
  ...Object.entries(READERS).map(([name, next]) => unchanged(name, ({ a, b }) => only({ a: next(a!), b: b! }))),
  unchanged('the old value is also returned', ({ a, b }) => ({
    state: { a: a!.add(1), b: b! },
    extra: { before: a!, sum: a!.sum() },
  })),
  unchanged('the new value is also returned', ({ a, b }) => {
    const next = a!.add(1);
    return { state: { a: next, b: next }, extra: { after: next, old: b! } };
  }),
  unchanged('others read the old value late', ({ a, b }) => {
    const next = a!.add(1);
    return { state: { a: next, b: b!.add(next.sum()).add(a!).mul(0.01) }, extra: { both: next.matmul(a!) } };
  }),
  unchanged('two states exchanged', ({ a, b }) => only({ a: b!, b: a! })),
  unchanged('two states exchanged and changed', ({ a, b }) => only({ a: b!.add(1), b: a!.mul(0.5) })),
  unchanged('each reads the other', ({ a, b }) => only({ a: a!.add(b!).mul(0.5), b: a!.sub(b!) })),
  unchanged('returned untouched', (state) => only(state)),
  unchanged('replaced by a constant', ({ b }) => only({ a: b!.mul(0).add(2), b: b! })),
  decoding('rows of different length', SMALL),
  decoding('grouped queries', { ...SMALL, heads: 6 }),
  decoding('one key head, one row', { ...SMALL, heads: 4, keyValueHeads: 1, lengths: [2] }),
  decoding('heads of width 3', { ...SMALL, width: 3 }),
  decoding('heads of width 64', { ...SMALL, width: 64, scale: 0.125 }),
  decoding('sliding window', { ...SMALL, slidingWindow: 2 }),
  decoding('from an empty cache', { ...SMALL, lengths: [0, 0], steps: 5 }),
  decoding('with a row that starts empty', { ...SMALL, lengths: [0, 3] }),
  unchanged('an optimizer over several steps', adamStep, adamState, 5),
  {
    name: 'donation: a donated tensor is refused afterwards',
    check: async () => {
      const run = compile((state: Tensor) => ({ state: state.add(1) }), { donate: { 0: 'state' } });
      const x = fresh([3], 0);
      await run(x);
      for (const [what, use] of [
        ['reading', () => x.data()],
        ['computing', () => x.add(1).data()],
        ['passing', () => run(x)],
      ] as const) {
        const message = await use().then(
          () => 'nothing was thrown',
          (error: Error) => error.message,
        );
        if (!/donated/.test(message)) throw new Error(`${what}: ${message}`);
      }
    },
  },
];
