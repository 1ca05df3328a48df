import type { ChatMessage } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { PreferenceRow, PromptRow, Rewards } from '@posttrain/rl';
import type { TrainableAdapter } from '@posttrain/training';

// What the other loops need to know.

interface Loop {
  readonly model: CausalLM;
  /** What is trained, beside the model. */
  readonly adapter: TrainableAdapter;
  /** Of the first step; it falls linearly to 0. */
  readonly learningRate: number;
  readonly seed: number;
}

interface LoopOverRows extends Loop {
  readonly epochs: number;
  readonly batchSize: number;
  readonly onStep?: (step: number, loss: number) => void;
}

export interface DpoLoop extends LoopOverRows {
  readonly rows: readonly PreferenceRow[];
  readonly beta: number;
  readonly maxLength: number;
}

export interface DistillLoop extends LoopOverRows {
  readonly teacher: CausalLM;
  readonly rows: readonly Conversation[];
  /** 0: the forward KL, as in distillation on data; 1: the reverse KL, which seeks the teacher's modes; between: Jensen-Shannon. */
  readonly beta: number;
  readonly maxTokens: number;
}

export interface Conversation {
  readonly prompt: readonly ChatMessage[];
}

export interface PolicyLoop<Row extends PromptRow & Conversation> extends Loop {
  readonly rows: readonly Row[];
  readonly rewards: Rewards<Row>;
  /** Weight of the KL to the reference, which is the model without the adapter. */
  readonly beta: number;
  readonly steps: number;
  readonly promptsPerStep: number;
  readonly completionsPerPrompt: number;
  readonly maxTokens: number;
  readonly onStep?: (step: number, loss: number, meanReward: number) => void;
}

export interface PpoLoop<Row extends PromptRow & Conversation> extends PolicyLoop<Row> {
  readonly discounts: { readonly gamma: number; readonly lambda: number };
  /** Updates on one batch of completions. */
  readonly epochs: number;
}
