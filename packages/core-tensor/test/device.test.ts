import { describe, expect, it } from 'vitest';
import { compile, scalar, type Tensor } from '../src/index.js';
import { device, onnxruntimeEngine } from '../src/onnxruntime.js';
import { onEngine } from '../src/testing/on-engine.js';
import { useSwiftShader } from './vulkan.js';

describe('device', () => {
  it('auto takes the CPU where the only GPU is a program, and says why', async (context) => {
    const missing = await useSwiftShader();
    if (missing !== undefined) context.skip(missing);
    const { device: taken, engine, trials } = await device('auto');
    expect(taken).toBe('cpu');
    expect(engine.device).toBe('cpu');
    const why = Object.fromEntries(trials.map((trial) => [trial.device, trial.why]));
    expect(Object.keys(why)).toEqual(['cuda', 'webgpu', 'tfjs-node-gpu', 'cpu']);
    expect(why.cuda).toMatch(/ONNXRUNTIME_NODE_INSTALL=cuda12/);
    expect(why.webgpu).toMatch(/it works, but is no GPU: a product of 256 x 256 took .* ms/);
    expect(why['tfjs-node-gpu']).toMatch(/@tensorflow\/tfjs-node-gpu/);
    expect(trials.map((trial) => trial.taken)).toEqual([false, false, false, true]);
  });

  it('gives the device that was asked for', async () => {
    const { device: taken, engine } = await device('cpu', { threads: 1 });
    expect([taken, engine.name, engine.device]).toEqual(['cpu', 'onnxruntime', 'cpu']);
  });

  it('names the devices there are, and what to install for those that do not start', async () => {
    await expect(device('tpu' as never)).rejects.toThrow(/"tpu"; there are auto, cpu, webgpu/);
    await expect(device('cuda')).rejects.toThrow(/device cuda cannot start: .*ONNXRUNTIME_NODE_INSTALL=cuda12/);
    await expect(device('cpu', { threds: 1 } as never)).rejects.toThrow(/threads/);
  });
});

it('a timer has its turn between runs that finish on this thread', () =>
  onEngine(onnxruntimeEngine({ threads: 1 }), async () => {
    const next = compile((x: Tensor) => x.add(1));
    let x = await next(scalar(0));
    let isDue = false;
    setTimeout(() => {
      isDue = true;
    }, 1);
    let runs = 0;
    // Without a turn of the event loop in between this would go on for ever.
    while (!isDue && runs < 100_000) {
      x = await next(x);
      runs++;
    }
    expect(isDue).toBe(true);
    expect(await x.item()).toBe(runs + 1);
  }));
