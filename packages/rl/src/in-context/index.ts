export { type DiclOptions, dicl, stateActionRows } from './dicl.js';
export { type DiclSacOptions, diclSac } from './dicl-sac.js';
export {
  type HybridPolicyEvaluationOptions,
  type HybridPolicyValue,
  hybridPolicyEvaluation,
} from './hybrid-policy-evaluation.js';
export type { ForecastOptions, InContextDynamics, PredictedRows, RescaledDistribution } from './in-context-dynamics.js';
export { type LanguageSeriesModelOptions, languageSeriesModel } from './language-series-model.js';
export {
  type MultiBranchBoundOptions,
  type MultiBranchOptions,
  multiBranchReturn,
  multiBranchReturnBound,
  transitionError,
} from './multi-branch-return.js';
export {
  type FeatureMap,
  type PrincipalComponents,
  type PrincipalComponentsOptions,
  principalComponents,
} from './principal-components.js';
export {
  digitsOf,
  type SerializedSeries,
  type SerializeSeriesOptions,
  serializeSeries,
  valueOfDigits,
} from './serialize-series.js';
export {
  type CellMasses,
  cumulative,
  hierarchicalDistribution,
  quantile,
  statisticsOf,
} from './series-distribution.js';
export { SeriesError } from './series-error.js';
export type { SeriesDigits, SeriesModel, SeriesRequest } from './series-model.js';
export { type ViclOptions, vicl } from './vicl.js';
