import type { Ours } from './shared.js';
import { refusedTrl, type TrlFile } from './trl-file.js';

/** Losses of DPOTrainer that mean the same under the same name. */
const DPO_LOSSES: readonly string[] = [
  ...['sigmoid', 'hinge', 'ipo', 'exo_pair', 'nca_pair', 'robust', 'bco_pair', 'sppo_hard', 'aot', 'aot_unpaired'],
  ...['apo_zero', 'apo_down', 'discopop', 'sigmoid_norm'],
];

/** The loss of DPOTrainer, and how its reference moves. */
export function preferenceOptions(file: TrlFile): Ours {
  const types = [file.take('loss_type', 'sigmoid')].flat();
  const type = String(types[0]);
  if (types.length > 1) throw refusedTrl('loss_type', 'Several losses are combinedLoss of a program.');
  if (!DPO_LOSSES.includes(type))
    throw refusedTrl('loss_type', `${JSON.stringify(type)} has no equal here; give loss.`);
  file.only('loss_weights', [undefined], 'Several losses are combinedLoss of a program.');
  file.only('f_divergence_type', ['reverse_kl'], 'It is the loss f-dpo: give loss, by our names.');
  file.take('f_alpha_divergence_coef');
  file.only('use_weighting', [false], 'It is the loss wpo: give loss, by our names.');
  file.only('ld_alpha', [undefined], 'It is the loss ld-dpo: give loss, by our names.');
  file.only('disable_dropout', [true], 'A policy has no dropout here.');
  const smoothing = file.number('label_smoothing', 0);
  const tau = file.take('discopop_tau');
  const sync = file.take('sync_ref_model', false);
  const moves = {
    refModelMixupAlpha: file.number('ref_model_mixup_alpha', 0.6),
    refModelSyncSteps: file.number('ref_model_sync_steps', 512),
  };
  return {
    loss: {
      name: type === 'sigmoid' && smoothing > 0 ? 'cdpo' : type,
      beta: file.number('beta', 0.1),
      ...(smoothing > 0 && { labelSmoothing: smoothing }),
      ...(type === 'discopop' && tau !== undefined && { tau }),
    },
    ...(sync === true && { referenceUpdate: { name: 'tr-dpo', ...moves } }),
  };
}

/** The loss of RewardTrainer. */
export function rewardOptions(file: TrlFile): Ours {
  file.only('disable_dropout', [true], 'A reward model has no dropout here.');
  const coefficient = file.take('center_rewards_coefficient');
  return {
    loss: { name: 'bradleyTerry', ...(coefficient !== undefined && { centerRewardsCoefficient: coefficient }) },
  };
}

/** Numbers of an objective, by TRL's names. */
const NUMBERS = {
  ...{ beta: 'beta', epsilon: 'epsilon', epsilon_high: 'epsilonHigh', delta: 'delta', entropy_coef: 'entropyCoef' },
  importance_sampling_level: 'importanceSamplingLevel',
} as const;

/** Whether the deviation of rewards divides, as TRL and this package say it. */
const SCALES = new Map<unknown, string>([
  [true, 'group'],
  [false, 'none'],
]);

/**
 * The objective of GRPOTrainer and RLOOTrainer, and what a step of theirs is. A batch of completions is one update for each of
 * `num_iterations`.
 *
 * @param isRloo whether it is RLOOTrainer's
 */
export function policyOptions(file: TrlFile, isRloo: boolean): { readonly given: Ours; readonly objective: string } {
  const perDevice = file.number('per_device_train_batch_size', 8);
  const accumulated = file.number('gradient_accumulation_steps', 1);
  const perUpdate = perDevice * accumulated;
  const generated = file.number('generation_batch_size', perDevice * file.number('steps_per_generation', accumulated));
  if (generated !== perUpdate) {
    throw refusedTrl('steps_per_generation', 'A batch of completions is one update here; num_iterations repeats it.');
  }
  const group = file.number('num_generations', isRloo ? 2 : 8);
  if (generated % group !== 0)
    throw refusedTrl('num_generations', `${group} does not divide the ${generated} completions of a step.`);
  const iterations = file.number('num_iterations', 1);
  const updates = file.number('max_steps', -1);
  if (updates <= 0) throw refusedTrl('max_steps', 'must be given: a reinforcement run has steps, and no epochs, here.');
  if (updates % iterations !== 0) throw refusedTrl('num_iterations', `${iterations} does not divide max_steps.`);
  file.take('num_train_epochs');
  if (isRloo) {
    file.only('reward_clip_range', [undefined], 'Clip rewards in a function of your own.');
  }
  file.only('use_vllm', [false], 'Completions are sampled from the model that is trained.');
  file.only('sync_ref_model', [false], 'The reference of a policy stays as it is.');
  file.only('reward_weights', [undefined], 'A reward has its weight beside it: rewards.NAME.weight.');
  file.only('reward_funcs', [undefined], 'Give rewards, by our names: rewards: { correct: exact-match }.');
  file.only('disable_dropout', [false, true], '');
  file.only('shuffle_dataset', [true], 'Prompts are shuffled, by the seed.');
  const rewardModel = file.take('reward_model_name_or_path');
  const objective = isRloo ? 'rloo' : String(file.take('loss_type', 'dapo'));
  const names = Object.entries(NUMBERS).filter(([theirs]) => file.has(theirs));
  const scale = isRloo ? undefined : file.take('scale_rewards', 'group');
  const normalized = isRloo ? file.take('normalize_advantages') : undefined;
  return {
    objective,
    given: {
      ...{ promptsPerStep: generated / group, completionsPerPrompt: group },
      ...{ iterationsPerBatch: iterations, steps: updates / iterations },
      objective: {
        ...Object.fromEntries(names.map(([theirs, ours]) => [ours, file.take(theirs)])),
        ...(scale !== undefined && { scaleRewards: SCALES.get(scale) ?? scale }),
        ...(normalized !== undefined && { normalizeAdvantages: normalized }),
      },
      ...(rewardModel !== undefined && { rewards: { reward_model: { model: rewardModel } } }),
    },
  };
}
