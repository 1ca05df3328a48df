import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compile, setEngine, type Tensor, tensor } from '../src/index.js';
import { testEngine } from '../src/testing/index.js';
import { exampleEngine } from './example-engine.js';

testEngine({ name: 'of docs/engines.md', create: exampleEngine, runner: { describe, it } });

describe('docs/engines.md', () => {
  it('has the example that passes the suite', () => {
    const example = readFileSync(join(import.meta.dirname, 'example-engine.ts'), 'utf8');
    const page = readFileSync(join(import.meta.dirname, '../../../docs/engines.md'), 'utf8');
    expect(page).toContain(example);
  });
});

describe('memory that must be given back', () => {
  it('is given back once, and not grown by steps whose results are read', async () => {
    const engine = exampleEngine();
    setEngine(engine);
    const step = compile((state: Tensor, x: Tensor) => ({ state: state.add(x), sum: state.sum() }), {
      donate: { 0: 'state' },
    });
    let state = tensor([0, 0]);
    for (let i = 0; i < 20; i++) {
      const result = await step(state, tensor([i, 1]));
      state = result.state;
      await result.sum.item();
      expect(engine.live).toBe(1);
    }
    expect(await state.toArray()).toEqual([190, 20]);
    await state.dispose();
    await step.dispose();
    expect(engine.live).toBe(0);
  });
});
