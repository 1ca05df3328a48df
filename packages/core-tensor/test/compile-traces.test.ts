import { beforeEach, describe, expect, it } from 'vitest';
import { compile, type Engine, referenceEngine, setEngine, type Tensor, zerosBuffer } from '../src/index.js';

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
