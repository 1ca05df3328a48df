import { expect, it } from 'vitest';
import { compile, scalar, type Tensor } from '../index.js';
import { onnxruntimeEngine } from '../onnxruntime.js';
import { onEngine } from '../testing/on-engine.js';

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
