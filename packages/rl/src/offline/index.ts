export { type CqlOptions, cql, qPolicy } from './cql.js';
export {
  type DecisionTransformerConfig,
  DecisionTransformerError,
} from './decision-transformer/config.js';
export { DecisionTransformer } from './decision-transformer/decision-transformer.js';
export {
  type ReturnConditionedOptions,
  returnConditioned,
} from './decision-transformer/return-conditioned.js';
export {
  type DecisionTransformerOptions,
  type DecisionTransformerResult,
  decisionTransformerOptions,
  trainDecisionTransformer,
} from './decision-transformer/train-decision-transformer.js';
export { returnsToGo, type TrajectoryRowOptions, trajectoryRow } from './decision-transformer/trajectories.js';
export { type IlqlOptions, ilql, syncTargets, withQHeads } from './ilql.js';
export { type IlqlPolicy, type IlqlSamplerOptions, ilqlSampler } from './ilql-sampler.js';
export { type OreoPolicyOptions, type OreoValueOptions, oreoPolicy, oreoSteps, oreoValue } from './oreo.js';
