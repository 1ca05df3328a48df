import type { Study } from '../reward-models/harness.js';
import { biasArms } from './bias.js';
import { overArms } from './over-optimisation.js';
import { r1Arms } from './r1.js';
import { rlhfArms } from './rlhf.js';
import { satoriArms } from './satori.js';
import { searchArms } from './search-distillation.js';

/** Settings were chosen on seeds 1 and 11. */
const seeds = [21, 22, 23];
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
    seeds,
    arms: (seed) => r1Arms(seed),
  },
  rlhf: {
    title: 'SFT, reward model, PPO',
    measures: ['win rate', 'worth', 'kl', 'corpus'],
    base: 'SFT',
    beside: { 'SFT, RM, PPO': 'SFT, RM of a coin, PPO', 'SFT, RM, PPO with a pretraining mix': 'SFT, RM, PPO' },
    sources: sources('rlhf.ts'),
    seeds,
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
    seeds,
    arms: (seed) => overArms(seed),
  },
  satori: {
    title: 'Satori in small',
    measures: [
      ...['right', 'right behind an error', 'right behind an error, told to reflect', 'right behind right steps'],
      ...['thought over', 'thought over behind an error'],
    ],
    base: 'RL',
    sources: sources('satori.ts'),
    seeds,
    arms: (seed) => satoriArms(seed),
  },
  'search-distillation': {
    title: 'Search that teaches',
    measures: ['right', 'perplexity'],
    base: 'GRPO, flat',
    beside: { 'search and distillation': 'search by chance and distillation' },
    sources: sources('search-distillation.ts'),
    seeds,
    arms: (seed) => searchArms(seed),
  },
  bias: {
    title: 'A reward model that dislikes a dialect',
    measures: ['gap', 'worth'],
    base: 'biased reward model',
    sources: sources('bias.ts'),
    seeds,
    arms: (seed) => biasArms(seed),
  },
};
