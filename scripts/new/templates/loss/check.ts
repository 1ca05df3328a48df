import { tensor } from '@posttrain/core-tensor';
import { negativeLogLikelihood, type TokenLossInputs } from '@posttrain/training';
import { testLoss } from '@posttrain/training/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testLoss(it, 'myMethod', myMethod());

  it('is the negative log-likelihood without gamma, and less with it', async () => {
    const zeros = tensor([[0, 0]]);
    const inputs: TokenLossInputs = {
      ...{ logProbs: tensor([[Math.log(0.5), Math.log(0.9)]]), weights: tensor([[0.5, 0.5]]) },
      ...{ entropies: zeros, isGreedy: zeros, annotations: {} },
    };
    const of = (gamma: number) => myMethod({ gamma }).compute(inputs).loss.item();
    expect(await of(0)).toBeCloseTo(await negativeLogLikelihood.compute(inputs).loss.item(), 6);
    expect(await of(1)).toBeCloseTo(-(0.5 * Math.log(0.5) + 0.1 * Math.log(0.9)) / 2, 6);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
