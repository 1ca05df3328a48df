import { expect, it } from 'vitest';
import { fitPowerLaw } from './fit.js';

it('finds the exponent of a power law exactly', () => {
  const fit = fitPowerLaw([64, 128, 256, 1024].map((x) => ({ x, y: 3 * x ** 1.5 })));
  expect(fit.exponent).toBeCloseTo(1.5, 10);
  expect(fit.scale).toBeCloseTo(3, 8);
  expect(fit.standardError).toBeLessThan(1e-8);
});

it('gives the standard error of the textbook', () => {
  // ln x = 0, 1, 2 and ln y = 0, 2, 1: slope 1/2, residuals -1/2, 1, -1/2, so √(1.5 / 1 / 2).
  const points = [0, 2, 1].map((y, x) => ({ x: Math.exp(x), y: Math.exp(y) }));
  const fit = fitPowerLaw(points);
  expect(fit.exponent).toBeCloseTo(0.5, 12);
  expect(fit.standardError).toBeCloseTo(Math.sqrt(0.75), 12);
});

it('needs two sizes', () => {
  expect(() => fitPowerLaw([{ x: 2, y: 1 }])).toThrow('two different sizes');
});
