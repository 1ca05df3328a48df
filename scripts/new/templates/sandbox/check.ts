import { quickjs } from '@posttrain/sandbox';
import { testSandbox } from '@posttrain/sandbox/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  const inside = quickjs();
  testSandbox(it, myMethod({ inside }));

  it('ends what its job would let run on', async () => {
    const job = { language: 'javascript', code: 'for (;;);', limits: { wallMs: 600_000, cpuMs: 600_000 } };
    const { stoppedBy } = await myMethod({ inside, mostWallMs: 2500 }).run(job);
    expect(stoppedBy).toBe('wall-time');
  });
});
