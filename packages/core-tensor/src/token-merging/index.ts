export {
  bipartiteSoftMatching,
  proportionalAttentionBias,
  type TokenMerging,
  type TokenMergingOptions,
} from './token-merging.js';
