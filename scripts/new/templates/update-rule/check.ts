import { sgd } from '@posttrain/core-tensor/optim';
import { negativeLogLikelihood, Trainer, updateByRule } from '@posttrain/training';
import { kitModel, testUpdateRule } from '@posttrain/training/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testUpdateRule(it, () => myMethod());

  it('goes 2 + β times the first step in two where the gradient stays', async () => {
    const rows = [{ tokens: [3, 1, 4, 1, 5], weights: [0.25, 0.25, 0.25, 0.25] }];
    const distance = async (beta: number) => {
      const model = await kitModel('vocabulary', 1);
      const trainer = await Trainer.create(model, { optimizer: sgd(), maxGradNorm: 0 });
      const before = await trainer.parameters['model.norm.weight']!.toArray();
      for (let i = 0; i < 2; i++) {
        await updateByRule(trainer, myMethod({ beta }), rows, negativeLogLikelihood, { learningRate: 1e-3 });
      }
      const after = await trainer.parameters['model.norm.weight']!.toArray();
      return Math.hypot(...after.map((x, i) => x - before[i]!));
    };
    expect((await distance(0.5)) / (await distance(0))).toBeCloseTo(2.5 / 2, 2);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
