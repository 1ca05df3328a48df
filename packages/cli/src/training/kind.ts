import type { OptionShape } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import type { StepMetrics, Stopped, TrainableAdapter, TrainableModel, Trainer } from '@posttrain/training';
import type { AnyOptions } from '../options/command-line.js';
import type { Make } from './makers.js';

/** What a trainer gives, as far as the commands use it. */
export interface Trained {
  readonly trainer: Trainer<TrainableModel>;
  readonly history: readonly StepMetrics[];
  readonly stopped: Stopped | undefined;
}

/** A command that trains. */
export interface TrainingKind {
  readonly name: string;
  readonly about: string;
  /** The options of its trainer. */
  readonly declared: AnyOptions;
  /** Options that are made of texts here, beside those of all trainings. */
  readonly made: OptionShape;
  readonly make: Readonly<Record<string, Make>>;
  /** Where the descriptions of its options are, the first to be believed. */
  readonly descriptions: readonly string[];
  /** Further lines of its help. */
  readonly more?: string;
  /** What is trained, made of the language model that is read; itself by default. */
  modelOf?(model: CausalLM, given: Readonly<Record<string, unknown>>): Promise<TrainableModel>;
  /** Whether options are only for `modelOf`, and not the trainer's. */
  readonly ofModel?: readonly string[];
  train(options: TrainerOptionsRecord): Promise<Trained>;
}

/** Options of a trainer, made and checked by their declarations. */
export type TrainerOptionsRecord = Readonly<Record<string, unknown>> & { readonly adapter?: TrainableAdapter };
