import { testDecodeHook } from '@posttrain/lm/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testDecodeHook(it, 'myMethod', () => myMethod({ mostInARow: 1 }));

  it('forbids a token that has come as often as it may, and no other', () => {
    const after = (generated: readonly number[]) => myMethod().next!({ prompt: [1], generated });
    expect(after([3, 3])).toEqual({ forbid: [3] });
    for (const fine of [[], [3], [3, 4], [3, 3, 4]]) expect(after(fine)).toBeUndefined();
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
