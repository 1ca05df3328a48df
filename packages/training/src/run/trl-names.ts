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

const inCamelCase = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Aliases for `options`, in both spellings: those whose option `shape` has. */
export function trlNames(shape: object, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const known = Object.entries({ ...NAMES, ...more }).filter(([, ours]) => Object.hasOwn(shape, ours));
  return Object.fromEntries(known.flatMap(([name, ours]) => [name, inCamelCase(name)].map((one) => [one, ours])));
}
