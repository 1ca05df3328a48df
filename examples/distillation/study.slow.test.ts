import { expect, it } from 'vitest';
import { distillationArms, mopdArms, SETTINGS } from './arms.js';

// Shorter than the study: what is asserted is on which side of its control an arm is.
const settings = { ...SETTINGS, teacherSteps: 60, steps: 30, mopdSteps: 12, heldOut: 40 };

it('a teacher that knows the language teaches more than one that knows nothing', async () => {
  const losses = await distillationArms(1, settings);
  const control = losses['control: an untrained teacher']!;
  expect(losses['teacher (larger)']).toBeLessThan(control);
  expect(losses['knowledge distillation']).toBeLessThan(control);
});

it('specialists teach their own domain, and not the other', async () => {
  const losses = await mopdArms(1, settings);
  expect(losses.MOPD).toBeLessThan(losses['control: routed to the other']! - 0.2);
});
