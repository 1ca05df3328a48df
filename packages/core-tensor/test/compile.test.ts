import { beforeEach, describe, expect, it } from 'vitest';
import {
  compile,
  DonatedTensorError,
  type Engine,
  type Graph,
  ones,
  referenceEngine,
  rmsNorm,
  scalar,
  setEngine,
  softmax,
  type Tensor,
  tensor,
  tensorElsewhere,
  zeros,
  zerosBuffer,
} from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { onEngine } from '../src/testing/on-engine.js';

describe('compile', () => {
  beforeEach(() => setEngine(referenceEngine()));

  const add = (state: { w: Tensor }) => ({ state: { w: state.w.add(1) } });

  describe('compile refuses', () => {
    it('asynchronous functions, and functions that return no tensor', async () => {
      await expect(compile(async (x: Tensor) => x)(zeros([1]))).rejects.toThrow(/must not be async/);
      await expect(compile((x: Tensor) => ({ size: x.size }))(zeros([1]))).rejects.toThrow(/no tensor/);
    });
    it('trees with other things than arrays, plain objects and tensors', async () => {
      await expect(compile((m: Map<string, Tensor>) => [...m.values()])(new Map([['a', zeros([1])]]))).rejects.toThrow(
        /Map/,
      );
      const f = compile((x: Tensor, g: (x: Tensor) => Tensor) => g(x));
      await expect(f(zeros([1]), (x) => x.neg())).rejects.toThrow(/function/);
    });
    it('donations that do not fit the output', async () => {
      const other = compile((state: { w: Tensor }) => ({ state: { v: state.w } }), { donate: { 0: 'state' } });
      await expect(other({ w: zeros([2]) })).rejects.toThrow(/state\.w is missing/);
      const shape = compile((state: { w: Tensor }) => ({ state: { w: state.w.sum() } }), { donate: { 0: 'state' } });
      await expect(shape({ w: zeros([2]) })).rejects.toThrow(/\[2\]/);
      const fewer = compile((_: { a: Tensor; b: Tensor }) => ({ state: { a: zeros([1]) } }), {
        donate: { 0: 'state' },
      });
      await expect(fewer({ a: zeros([1]), b: zeros([1]) })).rejects.toThrow(/holds 2 tensors and the output 1/);
    });
    it('one tensor passed twice when it is donated', async () => {
      const f = compile((state: { w: Tensor }, x: Tensor) => ({ state: { w: state.w.add(x) } }), {
        donate: { 0: 'state' },
      });
      const w = tensor([1]);
      await expect(f({ w }, w)).rejects.toThrow('arguments 0.w and 1 are the same tensor, and one is donated');
      const last = compile((x: Tensor, state: Tensor[]) => ({ state: state.map((w) => w.add(x)) }), {
        donate: { 1: 'state' },
      });
      await expect(last(w, [tensor([2]), w])).rejects.toThrow('arguments 0 and 1.1 are the same tensor');
      await expect(last(tensor([2]), [w, w])).rejects.toThrow('arguments 1.0 and 1.1 are the same tensor');
      // The refusal happened before anything was given away.
      expect(await w.toArray()).toEqual([1]);
    });
    it('a donated tensor that the function also captures', async () => {
      const w = ones([65]).add(1);
      await w.data();
      const f = compile((state: Tensor) => ({ state: state.add(w) }), { donate: { 0: 'state' } });
      await expect(f(w)).rejects.toThrow('argument 0 is donated, but the function also captures the same tensor');
      expect((await f(ones([65]))).state.shape).toEqual([65]);
    });
  });

  describe('compile', () => {
    it('keeps trees, static leaves and key order', async () => {
      const f = compile((p: { b: Tensor; a: readonly [Tensor, string] }) => ({
        first: p.a[0].neg(),
        label: p.a[1],
        rest: [p.b, null],
      }));
      const { first, label, rest } = await f({ b: tensor([2]), a: [tensor([1]), 'x'] });
      expect([await first.item(), label, await (rest[0] as Tensor).item(), rest[1]]).toEqual([-1, 'x', 2, null]);
    });
    it('tells trees apart whose keys look like the text of others', async () => {
      const total = compile((tree: Record<string, number | Tensor>, x: Tensor) => x.mul(Object.keys(tree).length));
      expect(await (await total({ a: 1, b: 2 }, tensor([1]))).toArray()).toEqual([2]);
      expect(await (await total({ 'a":1;"b': 2 }, tensor([1]))).toArray()).toEqual([1]);
      expect(await (await total({ '\\a': 2 }, tensor([1]))).toArray()).toEqual([1]);
      expect(total.traces).toBe(3);
    });
    it('donates a tree from call to call', async () => {
      const step = compile(add, { donate: { 0: 'state' } });
      let state = { w: tensor([0]) };
      for (let i = 0; i < 4; i++) ({ state } = await step(state));
      expect(await state.w.item()).toBe(4);
      expect(step.traces).toBe(1);
    });
    it.each([
      ['reference', referenceEngine()],
      ['onnxruntime', onnxruntimeEngine({ threads: 1 })],
    ])('recycles results that were read, on the %s engine', (_, engine) =>
      onEngine(engine, async () => {
        const step = compile((x: Tensor, _old: { twice: Tensor }) => ({ results: { twice: x.mul(2) } }), {
          recycle: { 1: 'results' },
        });
        let old = { twice: tensor(new Float32Array(100), [100]) };
        const memory = new Set<unknown>();
        for (let i = 1; i < 5; i++) {
          const given = old;
          ({ results: old } = await step(tensor(new Float32Array(100).fill(i), [100]), given));
          const data = await old.twice.data();
          expect([...data]).toEqual(Array(100).fill(2 * i));
          memory.add(data.buffer);
          await expect(given.twice.data()).rejects.toThrow(DonatedTensorError);
        }
        if (engine.name === 'onnxruntime') expect(memory.size).toBe(1);
        expect(step.traces).toBe(1);
      }),
    );
    it('a pure number argument distinguishes -0, NaN and text', async () => {
      const f = compile((x: Tensor, by: number | string) => x.mul(Number(by)));
      for (const by of [1, '1', Number.NaN, 0]) await f(scalar(1), by);
      expect(f.traces).toBe(4);
    });
  });

  /** The graph that an engine gets for a function. */
  async function loweredGraph(
    f: (x: Tensor) => Tensor | readonly Tensor[],
    kernels: readonly string[] = [],
  ): Promise<string[]> {
    const inner = referenceEngine();
    let seen: Graph | undefined;
    const engine: Engine = {
      ...inner,
      kernels: new Set(kernels),
      compile: (graph, options) => {
        seen = graph;
        return inner.compile(graph, options);
      },
    };
    setEngine(engine);
    await compile((x: Tensor) => [f(x)].flat() as Tensor[])(tensor(new Float32Array(6), [2, 3])).catch(() => undefined);
    return seen!.nodes.map(({ op }) => op);
  }

  describe('the graph that an engine gets', () => {
    it('has equal computations once', async () => {
      const ops = await loweredGraph((x) => x.exp().add(x.exp()).mul(x.exp()));
      expect(ops.filter((op) => op === 'exp')).toHaveLength(1);
    });
    it('has no movements that cancel out', async () => {
      const ops = await loweredGraph((x) =>
        x.transpose().transpose().reshape([6]).reshape([2, 3]).broadcastTo([2, 3]).neg(),
      );
      expect(ops).toEqual(['input', 'neg']);
    });
    it('has no products with 1, unless they broadcast', async () => {
      expect(await loweredGraph((x) => x.mul(1).div(1).neg())).toEqual(['input', 'neg']);
      expect(await loweredGraph((x) => x.slice(0, 0, 1).mul(ones([2, 3])))).toContain('mul');
      expect(await loweredGraph((x) => x.mul(2))).toContain('mul');
    });
    it('has only what the outputs need', async () => {
      const ops = await loweredGraph((x) => {
        x.exp().log();
        return x.neg();
      });
      expect(ops).toEqual(['input', 'neg']);
    });
    it('has the kernels that the engine overrides, and no others', async () => {
      const f = (x: Tensor) => softmax(rmsNorm(x, ones([3]), { epsilon: 1 }));
      expect(await loweredGraph(f)).not.toContain('kernel');
      expect((await loweredGraph(f, ['softmax'])).filter((op) => op === 'kernel')).toHaveLength(1);
    });
  });
});

describe('traces', () => {
  let disposed = 0;

  beforeEach(() => {
    disposed = 0;
    const engine = referenceEngine();
    const counting: Engine = {
      ...engine,
      async compile(graph, options) {
        const executable = await engine.compile(graph, options);
        return {
          run: (inputs) => executable.run(inputs),
          dispose: async () => {
            disposed++;
          },
        };
      },
    };
    setEngine(counting);
  });

  describe('the traces of a compiled function', () => {
    it('are kept while they are used, and the one unused for longest makes room and is freed', async () => {
      let traced = 0;
      const total = compile((x: Tensor) => {
        traced++;
        return x.add(1).sum();
      });
      const call = async (size: number) => (await total(zerosBuffer([size]))).item();
      for (let size = 1; size <= 200; size++) {
        expect(await call(size)).toBe(size);
        expect(await call(1)).toBe(1);
      }
      expect(traced).toBe(200);
      expect(total.traces).toBe(64);
      expect(disposed).toBe(200 - 64);
      await call(200);
      expect(traced).toBe(200);
      await call(2);
      expect(traced).toBe(201);
    });

    it('none of which comes twice are an error', async () => {
      const scaled = compile((x: Tensor, factor: number) => x.mul(factor));
      for (let step = 0; step < 64; step++) await scaled(zerosBuffer([2]), step);
      await expect(scaled(zerosBuffer([2]), 64)).rejects.toThrow(/traced for 64 different inputs.*scalar\(x\)/);
    });
  });

  it('reads a tensor that is elsewhere when it is asked, until an engine has a copy', async () => {
    const file = [1, 2];
    let reads = 0;
    const read = () => {
      reads++;
      return Float32Array.from(file);
    };
    const x = tensorElsewhere(read, [2]);
    expect([String(x), reads]).toEqual(['Tensor(float32[2])', 0]);
    expect(await x.toArray()).toEqual([1, 2]);
    file[0] = 5;
    expect([await x.toArray(), reads]).toEqual([[5, 2], 2]);
    const state = tensorElsewhere(read, [2]);
    const twice = compile((y: Tensor) => ({ y: y.mul(2) }), { donate: { 0: 'y' } });
    expect(await (await twice(state)).y.toArray()).toEqual([10, 4]);
    expect(await x.toArray()).toEqual([5, 2]);
    await expect(state.data()).rejects.toThrow(/donated/);
  });
});
