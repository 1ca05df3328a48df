/**
 * Options of TRL and transformers whose name here is not the same in camelCase, with ours: for the error about an unknown
 * option.
 */
const NAMES: Readonly<Record<string, string>> = {
  per_device_train_batch_size: 'batchSize',
  num_train_epochs: 'epochs',
  max_steps: 'steps',
  max_seq_length: 'maxLength',
  output_dir: 'outputFolder',
  resume_from_checkpoint: 'resume',
  train_dataset: 'rows',
  optim: 'optimizer',
  lr_scheduler_type: 'schedule',
  lr_scheduler_kwargs: 'scheduleSettings',
  peft_config: 'adapter',
  num_generations: 'completionsPerPrompt',
  num_iterations: 'iterationsPerBatch',
  reward_funcs: 'rewards',
  ref_model: 'reference',
};

/** What is said elsewhere here, or not at all, for the same error. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  bf16: 'There is no training in bfloat16; fp16: true is mixed precision.',
  gradient_accumulation_steps:
    'batchSize is all rows of an update; maxTokensPerPass says how many tokens are in memory at once.',
  use_cpu: 'The engine decides where: see setEngine of @posttrain/core-tensor.',
  report_to: 'onLog has every entry, and metrics.jsonl of outputFolder.',
  load_best_model_at_end: 'Nothing is evaluated while a run goes on: evaluate checkpoints with @posttrain/eval.',
};

const inCamelCase = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const inBothSpellings = (entries: readonly (readonly [name: string, says: string])[]): Record<string, string> =>
  Object.fromEntries(entries.flatMap(([name, says]) => [name, inCamelCase(name)].map((one) => [one, says])));

/** Hints for `options`, in both spellings. */
export const trlHints = (more: Readonly<Record<string, string>> = {}): Record<string, string> =>
  inBothSpellings(Object.entries({ ...ELSEWHERE, ...more }));

/** Aliases for `options`, in both spellings: those whose option `shape` has. */
export function trlNames(shape: object, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const known = Object.entries({ ...NAMES, ...more }).filter(([, ours]) => Object.hasOwn(shape, ours));
  return inBothSpellings(known);
}
