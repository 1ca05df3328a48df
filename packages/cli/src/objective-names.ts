/** The names of `policyObjectives` of @posttrain/rl, whose code takes seconds to load. A test holds them to it. */
export const OBJECTIVES: readonly string[] = [
  ...['grpo', 'dr_grpo', 'dapo', 'bnpo', 'rloo', 'ppo', 'reinforce_plus_plus', 'vineppo', 'reinforce', 'trpo'],
  ...['minimum_risk', 'remax', 'natural_policy_gradient', 'cispo', 'sapo', 'luspo', 'vespo', 'gmpo', 'gspo_token'],
  ...['dppo', 'gfpo', 'gdpo', 'max_rl', 'lite_ppo', 'process_grpo', 'top_entropy', 'clip_cov', 'kl_cov'],
  ...['mirror_descent', 'vapo', 'prime', 'a2c', 'mixer', 'scst', 'seqgan', 'on_policy_distillation', 'minillm'],
  ...['j_bond', 'mopd', 'opsd', 'sdft', 'sdpo'],
];
