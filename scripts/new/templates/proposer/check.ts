import type { ProposalRequest } from '@posttrain/lm';
import { testProposer } from '@posttrain/lm/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testProposer(it, 'myMethod', () => myMethod());

  it('proposes the prompt again, no further than is of use', async () => {
    const request = (generated: readonly number[], most: number) =>
      ({ id: 0, row: { prompt: [5, 6, 7] }, state: { generated }, most }) as unknown as ProposalRequest;
    const proposals = await myMethod({ tokens: 2 }).propose([request([], 9), request([5], 1), request([5, 6, 7], 9)]);
    expect(proposals.map(({ tokens }) => tokens)).toEqual([[5, 6], [6], []]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
