import type { Study } from '../reward-models/harness.js';
import { overArms } from './over-optimisation.js';
import { r1Arms } from './r1.js';
import { rlhfArms } from './rlhf.js';

const sources = (...files: string[]) => ['world.ts', '../reward-models/small.ts', ...files];

export const STUDIES: Readonly<Record<string, Study>> = {
  r1: {
    title: 'DeepSeek-R1 in small',
    measures: ['right', 'format', 'mixed', 'helpful'],
    base: 'base',
    beside: {
      zero: 'zero, a random reward',
      'cold start': 'base',
      'cold start, reasoning RL': 'reasoning RL without the cold start',
      'the same without right': 'cold start, reasoning RL',
      'the same without format': 'cold start, reasoning RL',
      'the same without language': 'cold start, reasoning RL',
      'rejection sampling, SFT of the base': 'the same without rejection',
      'second RL': 'rejection sampling, SFT of the base',
      'second RL, rules alone': 'rejection sampling, SFT of the base',
      'smaller, distilled': 'smaller, RL',
      'smaller, RL': 'smaller base',
    },
    sources: sources('r1.ts'),
    arms: (seed) => r1Arms(seed),
  },
  rlhf: {
    title: 'SFT, reward model, PPO',
    measures: ['win rate', 'worth', 'kl'],
    base: 'SFT',
    beside: { 'SFT, RM, PPO': 'SFT, RM of a coin, PPO' },
    sources: sources('rlhf.ts'),
    arms: (seed) => rlhfArms(seed),
  },
  'over-optimisation': {
    title: 'Gold against proxy',
    measures: [
      ...['gold', 'best gold', 'proxy', 'kl', 'step of the best', 'first alarm', 'alarmed steps'],
      ...['α', 'β', 'explained share', 'KL at the top', 'curve: kl', 'curve: proxy', 'curve: gold'],
    ],
    base: 'one reward model',
    sources: sources('rlhf.ts', 'over-optimisation.ts'),
    arms: (seed) => overArms(seed),
  },
};
