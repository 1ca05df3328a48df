import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessRow, RewardPairRow } from '../src/index.js';

export const goldens = join(import.meta.dirname, '../../../goldens');
export const golden = JSON.parse(readFileSync(join(goldens, 'losses/reward.json'), 'utf8')) as {
  sequences: number[][];
  cases: {
    margin: number[] | null;
    center_rewards_coefficient: number | null;
    loss: number;
    score: number[];
    norm: number[];
    metrics: Record<string, number>;
  }[];
  outcome: { labels: number[]; loss: number; score: number[]; norm: number[] };
  tokens: { tokenizer: string; kind: string; rows: RewardPairRow[]; tokens: number[][][] }[];
  steps: {
    margin: number[];
    center_rewards_coefficient: number;
    learning_rate: number;
    log: Record<string, number>[];
    score: number[];
    norm: number[];
  };
};
export const processGolden = JSON.parse(readFileSync(join(goldens, 'process-reward/expected.json'), 'utf8')) as {
  rows: ProcessRow[];
  tokens: {
    tokenizer: string;
    settings: {
      step_separator: string;
      max_length: number | null;
      max_completion_length: number | null;
      train_on_last_step_only: boolean;
      is_eval: boolean;
    };
    rows: { input_ids: number[]; labels: number[] }[];
  }[];
  losses: {
    model: string;
    rows: { input_ids: number[]; labels: number[] }[];
    loss: number;
    accuracy: number;
    score: number[];
    norm: number[];
  }[];
};
