import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  attention,
  compile,
  defineOp,
  full,
  iota,
  rmsNorm,
  rotary,
  swiglu,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
} from '../../index.js';
import { BUILT_IN_KERNELS } from '../../kernels/built-in.js';
import { fingerprintOf } from './code-fingerprint.js';
import { type OnnxruntimeEngineOptions, onnxruntimeEngine } from './engine.js';
import { GraphCache, type StoredGraph } from './graph-cache.js';
import { graphCacheFolder } from './graph-cache-folder.js';

let root: string;
let folders = 0;
const newFolder = () => join(root, `${folders++}`);
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'posttrain-graphs-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const numbers = (shape: readonly number[], seed: number): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed)),
    shape,
  );

/** A training step of a block with most kernels that a model has, in which its weights are donated. */
function trainingStep(given: OnnxruntimeEngineOptions, { constant = 1, name = 'step' } = {}) {
  const engine = onnxruntimeEngine({ threads: 1, ...given });
  const [heads, width, length] = [2, 16, 6];
  const bias = numbers([1, 1, length, length], 8);
  const angles = numbers([1, length, width / 4], 9);
  const loss = (weights: readonly Tensor[], x: Tensor, targets: Tensor): Tensor => {
    const [norm, qkv, up, head] = weights as [Tensor, Tensor, Tensor, Tensor];
    const split = rmsNorm(x, norm, { epsilon: 1e-5 })
      .matmul(qkv)
      .reshape([1, length, 3 * heads, width / 2])
      .transpose([0, 2, 1, 3]);
    const part = (i: number) => split.slice(1, i * heads, (i + 1) * heads);
    const turned = [0, 1].map((i) => rotary(part(i), angles.cos(), angles.sin()));
    const mixed = attention(turned[0]!, turned[1]!, part(2), bias, { scale: 0.25 }).transpose([0, 2, 1, 3]);
    const rows = swiglu(mixed.reshape([length, width]).matmul(up), x.reshape([length, width]).matmul(up));
    return tokenLogProbs(rows.mul(full([], constant)), head, targets)
      .logProbs.mean()
      .neg();
  };
  const step = compile(
    (weights: readonly Tensor[], x: Tensor, targets: Tensor) => {
      const { value, gradient } = valueAndGrad(loss)(weights, x, targets);
      const moved = weights.map((w, i) => w.sub((gradient as Tensor[])[i]!.mul(0.1)));
      return { weights: moved, value };
    },
    { engine, name, donate: { 0: 'weights' } },
  );
  const run = async (): Promise<number[]> => {
    let weights = [
      numbers([width], 1),
      numbers([width, 3 * width], 2),
      numbers([width, width], 3),
      numbers([11, width], 4),
    ];
    const seen: number[] = [];
    for (let i = 0; i < 3; i++) {
      const result = await step(weights, numbers([1, length, width], 5 + i), iota([length], 0));
      seen.push(await result.value.item());
      weights = result.weights as Tensor[];
    }
    for (const weight of weights) seen.push(...(await weight.data()));
    return seen;
  };
  return { engine, run };
}

const filesOf = (folder: string) => readdirSync(folder).map((name) => join(folder, name));

describe('a cache of lowered graphs', () => {
  it.each<OnnxruntimeEngineOptions>([{}, { cpuKernels: 'off' }])(
    'gives the same bits cold, warm and damaged (%j)',
    async (options) => {
      const graphCache = newFolder();
      const without = trainingStep({ graphCache: false, ...options });
      const expected = await without.run();
      expect(without.engine.graphCacheUse()).toEqual({ hits: 0, misses: 0, damaged: 0, uncacheable: 0, unwritten: 0 });

      const cold = trainingStep({ graphCache, ...options });
      expect(await cold.run()).toEqual(expected);
      expect(cold.engine.graphCacheUse()).toMatchObject({ hits: 0, misses: 1, unwritten: 0 });
      expect(filesOf(graphCache)).toHaveLength(1);

      const warm = trainingStep({ graphCache, ...options });
      expect(await warm.run()).toEqual(expected);
      expect(warm.engine.graphCacheUse()).toMatchObject({ hits: 1, misses: 0 });

      const [path] = filesOf(graphCache) as [string];
      const whole = readFileSync(path);
      const damages = [
        Buffer.alloc(0),
        whole.subarray(0, 40),
        whole.subarray(0, -1),
        Buffer.from('something else'),
        // One bit, in the sum, the head and the model.
        ...[20, 80, whole.length - 100].map((at) => {
          const changed = Buffer.from(whole);
          changed[at] = changed[at]! ^ 4;
          return changed;
        }),
      ];
      for (const damage of damages) {
        writeFileSync(path, damage);
        const again = trainingStep({ graphCache, ...options });
        expect(await again.run()).toEqual(expected);
        expect(again.engine.graphCacheUse()).toMatchObject({ hits: 0, damaged: 1 });
        // It is whole again.
        expect(readFileSync(path).equals(whole)).toBe(true);
      }
    },
  );

  it('tells graphs apart by all that decides what they compute', async () => {
    const graphCache = newFolder();
    // The name of a function decides nothing.
    await trainingStep({ graphCache }).run();
    const named = trainingStep({ graphCache }, { name: 'other' });
    await named.run();
    expect(named.engine.graphCacheUse()).toMatchObject({ hits: 1, misses: 0 });
    const others: [OnnxruntimeEngineOptions, number][] = [
      [{}, 2],
      [{}, 0],
      [{}, -0],
      [{}, Number.NaN],
      [{}, Number.POSITIVE_INFINITY],
      [{}, Number.NEGATIVE_INFINITY],
    ];
    for (const [options, constant] of others) {
      const { engine, run } = trainingStep({ graphCache, ...options }, { constant });
      const found = await run();
      expect(engine.graphCacheUse()).toMatchObject({ hits: 0, misses: 1 });
      expect(found).toEqual(await trainingStep({ graphCache: false }, { constant }).run());
    }
    expect(filesOf(graphCache)).toHaveLength(1 + others.length);
  });

  it('tells donations, embedded constants and captured constants apart', async () => {
    const graphCache = newFolder();
    const chain = (x: Tensor, y: Tensor) => {
      let z = x;
      for (let i = 0; i < 70; i++) z = z.mul(y).add(x);
      return z;
    };
    const run = async (f: (x: Tensor) => Tensor, more: Parameters<typeof compile>[1] = {}, size = 4) => {
      const engine = onnxruntimeEngine({ graphCache });
      const compiled = compile((x: Tensor) => ({ x: f(x) }), { engine, ...more });
      const { x } = await compiled(numbers([size], 1));
      await compiled.dispose();
      return { use: engine.graphCacheUse(), values: [...(await x.data())] };
    };
    const constant = (values: readonly number[]) => (x: Tensor) => chain(x, tensor(values, [4]));
    const first = await run(constant([0.5, 0.25, 0, 1]));
    expect(first.use).toMatchObject({ hits: 0, misses: 1 });
    expect(await run(constant([0.5, 0.25, 0, 1]))).toMatchObject({ use: { hits: 1 }, values: first.values });
    for (const values of [
      [0.5, 0.25, -0, 1],
      [0.5, 0.25, Number.NaN, 1],
      [0.5, 0.25, 0, 1.0000001],
    ]) {
      const { use, values: found } = await run(constant(values));
      expect(use).toMatchObject({ hits: 0, misses: 1 });
      expect(found).not.toBe(first.values);
    }
    expect((await run(constant([0.5, 0.25, 0, 1]), { donate: { 0: 'x' } })).use).toMatchObject({ hits: 0, misses: 1 });
    // Weights are inputs: the same graph whatever their values, and another where they are packed.
    const weights = [numbers([100], 2), numbers([100], 3)];
    const times = (w: Tensor) => (x: Tensor) => chain(x, w);
    const unlike = await Promise.all(weights.map((w) => chain(numbers([100], 1), w).data()));
    for (const [i, packCaptured] of [false, false, true, true].entries()) {
      const { use, values } = await run(times(weights[i % 2]!), { packCaptured }, 100);
      expect(use).toMatchObject(i % 2 === 0 ? { hits: 0, misses: 1 } : { hits: 1, misses: 0 });
      expect(values).toEqual([...unlike[i % 2]!]);
    }
  });

  it('remembers nothing of operations that are not of this package, whatever they are called', async () => {
    const graphCache = newFolder();
    for (const by of [2, 3]) {
      const op = defineOp({
        name: 'someone/times',
        infer: ([x]) => [x!],
        decompose: ([x]) => [x!.mul(by)],
      });
      const engine = onnxruntimeEngine({ graphCache });
      const many = compile((x: Tensor) => Array.from({ length: 70 }).reduce<Tensor>((y) => y.add(op([x])[0]!), x), {
        engine,
      });
      const [value] = await (await many(tensor([1], [1]))).data();
      expect(value).toBe(1 + 70 * by);
      expect(engine.graphCacheUse()).toMatchObject({ hits: 0, misses: 0, uncacheable: 1 });
    }
    expect(existsSync(graphCache)).toBe(false);
  });

  it('knows every kernel of this package', async () => {
    const folder = fileURLToPath(new URL('../../kernels/', import.meta.url));
    const names = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.includes('.test.'));
    const modules = await Promise.all(names.map((name) => import(`${folder}${name}`) as Promise<object>));
    const kernels = modules.flatMap((module) => Object.entries(module)).filter(([name]) => /[a-z]Kernel$/.test(name));
    const found = kernels.map(([, value]) => value).filter((value) => typeof value === 'object');
    expect(new Set(BUILT_IN_KERNELS)).toEqual(new Set(found));
  });
});

describe('the files of the cache', () => {
  const stored = (size: number): StoredGraph => ({
    model: new Uint8Array(size).fill(7),
    inputs: [0, 2],
    outputs: [1],
    hasOwnOperators: false,
    inPlace: [true, false],
  });

  it('come back as they were, under their own key only', async () => {
    const folder = newFolder();
    const cache = new GraphCache(folder);
    expect(await cache.read('a')).toBeUndefined();
    await cache.write('a', stored(10));
    const found = await cache.read('a');
    expect({ ...found, model: Uint8Array.from(found!.model) }).toEqual(stored(10));
    // Another's file under this name.
    cpSync(join(folder, 'a.graph'), join(folder, 'b.graph'));
    expect(await cache.read('b')).toBeUndefined();
    expect(cache.use).toEqual({ hits: 1, misses: 1, damaged: 1, uncacheable: 0, unwritten: 0 });
  });

  it('are whole however many processes write them at once', async () => {
    const folder = newFolder();
    await Promise.all(Array.from({ length: 20 }, (_, i) => new GraphCache(folder).write(`${i % 2}`, stored(100_000))));
    expect(readdirSync(folder).sort()).toEqual(['0.graph', '1.graph']);
    const cache = new GraphCache(folder);
    for (const key of ['0', '1']) expect((await cache.read(key))?.model).toHaveLength(100_000);
  });

  it('stay within a number of bytes: those go that were not used for longest, and what nobody finishes', async () => {
    const folder = newFolder();
    const cache = new GraphCache(folder, 3500);
    for (const [i, key] of ['a', 'b', 'c'].entries()) {
      await cache.write(key, stored(900));
      utimesSync(join(folder, `${key}.graph`), 1000 + i, 1000 + i);
    }
    await cache.read('a');
    for (const [name, at] of [
      ['old.unfinished', 1000],
      ['new.unfinished', Date.now() / 1000],
    ] as const) {
      writeFileSync(join(folder, name), '');
      utimesSync(join(folder, name), at, at);
    }
    await cache.write('d', stored(900));
    expect(readdirSync(folder).sort()).toEqual(['a.graph', 'c.graph', 'd.graph', 'new.unfinished']);
    await cache.write('large', stored(4000));
    expect(existsSync(join(folder, 'large.graph'))).toBe(false);
  });

  it('are done without where the folder cannot be written to', async () => {
    const file = join(root, 'a file');
    writeFileSync(file, '');
    const cache = new GraphCache(join(file, 'folder'));
    await cache.write('a', stored(1));
    expect(await cache.read('a')).toBeUndefined();
    expect(cache.use).toMatchObject({ hits: 0, misses: 1, unwritten: 1 });
    const { engine, run } = trainingStep({ graphCache: join(file, 'folder') });
    expect(await run()).toEqual(await trainingStep({ graphCache: false }).run());
    expect(engine.graphCacheUse()).toMatchObject({ misses: 1, unwritten: 1 });
  });

  it.each<[Parameters<typeof graphCacheFolder>[0], Record<string, string>, string | undefined]>([
    [undefined, {}, undefined],
    [undefined, { POSTTRAIN_CACHE: 'off' }, undefined],
    [undefined, { POSTTRAIN_CACHE: '' }, undefined],
    [undefined, { POSTTRAIN_CACHE: 'FALSE' }, undefined],
    [undefined, { POSTTRAIN_CACHE: 'true' }, '/me/.cache/posttrain/graphs'],
    [undefined, { POSTTRAIN_CACHE: 'on' }, '/me/.cache/posttrain/graphs'],
    [undefined, { POSTTRAIN_CACHE: '/x' }, '/x'],
    [false, { POSTTRAIN_CACHE: '/x' }, undefined],
    ['/y', { POSTTRAIN_CACHE: '/x' }, '/y'],
    [true, { XDG_CACHE_HOME: '/caches' }, '/caches/posttrain/graphs'],
    [true, { XDG_CACHE_HOME: 'relative' }, '/me/.cache/posttrain/graphs'],
  ])('are where %j and %j say', (choice, environment, folder) => {
    if (process.platform === 'win32') return;
    expect(graphCacheFolder(choice, environment, () => '/me')).toBe(folder);
  });

  it('are nowhere without a home', () => {
    const homeless = () => {
      throw new Error('ENOENT: no home');
    };
    expect(graphCacheFolder(true, {}, homeless)).toBeUndefined();
  });
});

describe('the fingerprint of the code', () => {
  it('is of every file of the package, and of this package only', async () => {
    const here = fileURLToPath(new URL('./code-fingerprint.ts', import.meta.url));
    const src = join(dirname(here), '..', '..');
    const copy = newFolder();
    cpSync(src, join(copy, 'src'), { recursive: true });
    cpSync(join(src, '..', 'package.json'), join(copy, 'package.json'));
    const own = join(copy, 'src', 'engines', 'onnxruntime', 'code-fingerprint.ts');
    const before = await fingerprintOf(here);
    expect(await fingerprintOf(own)).toBe(before);
    writeFileSync(join(copy, 'src', 'graph', 'simplify.ts'), 'export {};\n');
    expect(await fingerprintOf(own)).not.toBe(before);
    if (process.platform !== 'win32') {
      // A folder of links, as some build tools make: what is behind them may change.
      symlinkSync(join(src, 'graph'), join(copy, 'src', 'linked'));
      expect(await fingerprintOf(own)).toBeUndefined();
      rmSync(join(copy, 'src', 'linked'));
    }
    writeFileSync(join(copy, 'package.json'), JSON.stringify({ name: 'an-app', version: '1.0.0' }));
    expect(await fingerprintOf(own)).toBeUndefined();
  });
});
