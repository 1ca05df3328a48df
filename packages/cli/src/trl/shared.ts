import { refusedTrl, type TrlFile } from './trl-file.js';

/** Options of ours, by declared name. */
export type Ours = Record<string, unknown>;

/** What shows something, moves data or computes the same numbers in another way: any value will do. */
export const WITHOUT_EFFECT: readonly string[] = [
  ...['attn_implementation', 'dataloader_num_workers', 'dataloader_pin_memory', 'dataloader_persistent_workers'],
  ...['dataloader_prefetch_factor', 'dataloader_in_order', 'dataset_num_proc', 'dataset_streaming', 'ddp_backend'],
  ...['ddp_find_unused_parameters', 'ddp_timeout', 'disable_tqdm', 'do_train', 'eval_accumulation_steps', 'log_level'],
  ...['log_completions', 'logging_first_step', 'gradient_checkpointing_kwargs', 'hub_model_id', 'hub_strategy'],
  ...['per_device_eval_batch_size', 'precompute_ref_batch_size', 'precompute_ref_log_probs', 'project', 'run_name'],
  ...['remove_unused_columns', 'torch_compile', 'torch_empty_cache_steps', 'use_liger_kernel', 'eval_packing'],
  ...['ignore_bias_buffers', 'shuffle_dataset', 'bnb_4bit_quant_storage', 'lora_task_type', 'overwrite_output_dir'],
];

/** The model and how it is read: TRL's ModelConfig without its adapter. */
export function modelOptions(file: TrlFile): Ours {
  file.only('model_revision', ['main'], 'Download that revision, and give its folder.');
  file.only('dtype', ['float32', 'auto'], 'Weights are trained in float32.');
  file.only('torch_dtype', ['float32', 'auto'], 'Weights are trained in float32.');
  file.only('trust_remote_code', [false], 'No code of a model is run.');
  file.only('bf16', [false], 'There is no training in bfloat16; fp16: true is mixed precision.');
  file.only('push_to_hub', [false], 'Nothing is uploaded.');
  const [four, eight] = [file.take('load_in_4bit', false), file.take('load_in_8bit', false)];
  const nested = file.take('use_bnb_nested_quant', false);
  const type = file.take('bnb_4bit_quant_type', 'nf4');
  const model = file.take('model_name_or_path');
  return {
    ...(model !== undefined && { model }),
    ...(four === true && { quantization: { name: type, ...(nested === true && { doubleQuant: true }) } }),
    ...(eight === true && { quantization: { name: 'int8' } }),
  };
}

/** TRL's `use_peft` and what belongs to it, with its defaults. */
export function adapterOptions(file: TrlFile, isDropoutOff: boolean): Ours {
  const lora = {
    r: file.number('lora_r', 16),
    loraAlpha: file.number('lora_alpha', 32),
    loraDropout: file.number('lora_dropout', 0.05),
    targetModules: modules(file.take('lora_target_modules')),
    modulesToSave: file.take('lora_modules_to_save'),
    useRslora: file.take('use_rslora', false),
    useDora: file.take('use_dora', false),
  };
  if (file.take('lora_target_parameters') !== undefined) {
    throw refusedTrl('lora_target_parameters', 'Parameters are chosen by their modules: give lora_target_modules.');
  }
  if (file.take('use_peft', false) !== true) return {};
  const given = Object.entries(lora).filter(([, value]) => value !== undefined && value !== false);
  return { adapter: { name: 'lora', ...Object.fromEntries(given), ...(isDropoutOff && { loraDropout: 0 }) } };
}

/** A list of one that is a name for many is that name, as in TRL. */
const modules = (value: unknown): unknown =>
  Array.isArray(value) && value.length === 1 && value[0] === 'all-linear' ? value[0] : value;

const SPLITS = ['train', 'validation', 'test'];

/** TRL's ScriptArguments: where rows are. */
export function rowOptions(file: TrlFile, isEvaluated: boolean): Ours {
  file.only('dataset_config', [undefined], 'Give the folder of those files.');
  const path = file.take('dataset_name');
  const [train, test] = [file.take('dataset_train_split', 'train'), file.take('dataset_test_split', 'test')];
  for (const [name, split] of [
    ['dataset_train_split', train],
    ['dataset_test_split', test],
  ] as const) {
    if (!SPLITS.includes(String(split))) throw refusedTrl(name, `must be one of ${SPLITS.join(', ')}.`);
  }
  if (path === undefined) return {};
  return { rows: { path, split: train }, ...(isEvaluated && { evaluationRows: { path, split: test } }) };
}

/** The optimizer, which takes its numbers along. */
export function optimizerOptions(file: TrlFile): Ours {
  const given = String(file.take('optim', 'adamw_torch_fused'));
  // The same mathematics in other kernels.
  const name = ['adamw_torch_fused', 'adamw_hf'].includes(given) ? 'adamw_torch' : given;
  const numbers = { adam_beta1: 'beta1', adam_beta2: 'beta2', adam_epsilon: 'epsilon' };
  const entries = Object.entries(numbers).filter(([theirs]) => file.has(theirs));
  return {
    optimizer: { name, ...Object.fromEntries(entries.map(([theirs, ours]) => [ours, file.take(theirs)])) },
  };
}

/** When is logged, saved and evaluated. `isEvaluated`: whether on held-out rows. */
export function whenOptions(file: TrlFile): { readonly given: Ours; readonly isEvaluated: boolean } {
  file.only('logging_strategy', ['steps'], 'Give logging_steps.');
  const loggingSteps = file.number('logging_steps', 10);
  const evaluation = file.take('eval_strategy', 'no');
  const saving = file.take('save_strategy', 'steps');
  if (evaluation !== 'no' && evaluation !== 'steps')
    throw refusedTrl('eval_strategy', 'must be no or steps, with eval_steps.');
  if (saving !== 'no' && saving !== 'steps') throw refusedTrl('save_strategy', 'must be no or steps, with save_steps.');
  const [saveSteps, evaluateEvery] = [file.number('save_steps', 500), file.number('eval_steps', loggingSteps)];
  const isEvaluated = evaluation === 'steps';
  const greater = file.take('greater_is_better');
  const reports = [file.take('report_to', 'none')].flat().filter((one) => one !== 'none');
  return {
    isEvaluated,
    given: {
      loggingSteps,
      ...(saving === 'steps' && { saveSteps }),
      ...(isEvaluated && { evaluateEvery }),
      ...(greater !== undefined && { bestMode: greater === true ? 'max' : 'min' }),
      ...(reports.length > 0 && { trackers: reports }),
      gradientCheckpointing: file.take('gradient_checkpointing', true),
    },
  };
}

/** Updates: `max_steps` where it is positive, else epochs. */
export function lengthOptions(file: TrlFile): Ours {
  const steps = file.number('max_steps', -1);
  const epochs = file.number('num_train_epochs', 3);
  return steps > 0 ? { steps } : { epochs };
}

/** Rows of an update on the one device that there is. */
export const rowsPerUpdate = (file: TrlFile): number =>
  file.number('per_device_train_batch_size', 8) * file.number('gradient_accumulation_steps', 1);
