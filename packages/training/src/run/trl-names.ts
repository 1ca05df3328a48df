import type { OptionHints } from '@posttrain/interfaces';

/** Options of TRL and transformers, with ours of the same meaning. */
export const TRL_NAMES: Readonly<Record<string, string>> = {
  output_dir: 'outputFolder',
  train_dataset: 'rows',
  eval_dataset: 'evaluationRows',
  peft_config: 'adapter',
  per_device_train_batch_size: 'batchSize',
  num_train_epochs: 'epochs',
  max_steps: 'steps',
  learning_rate: 'learningRate',
  weight_decay: 'weightDecay',
  max_grad_norm: 'maxGradNorm',
  optim: 'optimizer',
  lr_scheduler_type: 'schedule',
  lr_scheduler_kwargs: 'scheduleSettings',
  warmup_steps: 'warmupSteps',
  gradient_checkpointing: 'gradientCheckpointing',
  seed: 'seed',
  fp16: 'fp16',
  logging_steps: 'loggingSteps',
  report_to: 'trackers',
  save_steps: 'saveSteps',
  save_total_limit: 'saveTotalLimit',
  resume_from_checkpoint: 'resume',
  eval_steps: 'evaluateEvery',
  eval_on_start: 'evaluateOnStart',
  load_best_model_at_end: 'keepBest',
  metric_for_best_model: 'bestMetric',
  greater_is_better: 'bestMode',
  early_stopping_patience: 'patience',
  early_stopping_threshold: 'minDelta',
  max_length: 'maxLength',
  max_seq_length: 'maxLength',
  truncation_mode: 'truncationMode',
  packing: 'packing',
  packing_strategy: 'packingStrategy',
  completion_only_loss: 'completionOnlyLoss',
  assistant_only_loss: 'assistantOnlyLoss',
  ref_model: 'reference',
  neftune_noise_alpha: 'neftuneNoiseAlpha',
};

/** Options of theirs that have none of the same meaning here, and what to do instead. */
export const TRL_REMARKS: Readonly<Record<string, string>> = {
  args: 'Options are given directly, beside model and rows.',
  processing_class: 'The model has its tokenizer.',
  tokenizer: 'The model has its tokenizer.',
  callbacks: 'Give beforeStep, afterStep, onLog or trackers.',
  compute_metrics: 'Give evaluate, a function of the model as it is that gives metrics by name.',
  disable_tqdm: 'Give progress: false.',
  data_collator: 'Rows are padded and masked by position; give rows with input_ids and labels to decide yourself.',
  per_device_eval_batch_size: 'maxTokensPerPass bounds the memory of a pass; it changes no result.',
  gradient_accumulation_steps:
    'batchSize is all rows of an update; maxTokensPerPass splits it to fit memory, which changes no result.',
  label_smoothing_factor: 'Give sft the option loss: labelSmoothing({ labelSmoothingFactor }).',
  auto_find_batch_size: 'maxTokensPerPass bounds the memory of a pass; it changes no result.',
  adam_beta1: 'Give optimizer: { name, beta1 }.',
  adam_beta2: 'Give optimizer: { name, beta2 }.',
  adam_epsilon: 'Give optimizer: { name, epsilon }.',
  optim_args: 'Give optimizer: { name, ...options }.',
  warmup_ratio: 'Give warmupSteps, a number of updates.',
  eval_strategy: 'Give evaluateEvery; there is always an evaluation at the end.',
  save_strategy: 'Give saveSteps; the best evaluation is saved as well with keepBest.',
  logging_strategy: 'Give loggingSteps.',
  logging_dir: 'Give trackers: [tensorBoard({ folder })].',
  logging_first_step: 'The first step is logged with loggingSteps 1.',
  run_name: 'It is for trackers: give it to yours.',
  data_seed: 'There is one seed.',
  bf16: 'There is no training in bfloat16; fp16: true is mixed precision.',
  eval_packing: 'Evaluations are not packed, which changes no loss.',
  padding_free: 'Give packing: true.',
  dataset_text_field: 'The column of a text is called text: { text }.',
  dataset_num_proc: 'Rows are tokenized in this process.',
  precompute_ref_log_probs: 'They always are, of rows that are there before the first step.',
  max_prompt_length: 'Give maxLength, of prompt and completion together.',
  use_cpu: 'The engine decides where: see setEngine of @posttrain/core-tensor.',
};

const inCamelCase = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const inBothSpellings = (names: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(names).flatMap(([name, x]) => [name, inCamelCase(name)].map((one) => [one, x])));

/**
 * What the error about an unknown option says of TRL's and transformers' names, in both spellings: which of the options of
 * `shape` is meant, or what to do instead.
 *
 * @param names further names, of that trainer
 * @param remarks further remarks, of that trainer
 */
export function trlNames(
  shape: object,
  names: Readonly<Record<string, string>> = {},
  remarks: Readonly<Record<string, string>> = {},
): OptionHints {
  const known = Object.entries({ ...TRL_NAMES, ...names }).filter(([, ours]) => Object.hasOwn(shape, ours));
  return {
    aliases: inBothSpellings(Object.fromEntries(known)),
    hints: inBothSpellings({ ...TRL_REMARKS, ...remarks }),
  };
}
