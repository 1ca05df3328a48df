export { logSoftmax } from '../sampling/log-softmax.js';
export { type BeamSearchOptions, beamSearch } from './beam-search.js';
export { type ContrastiveDecodingOptions, contrastiveDecoding } from './contrastive-decoding.js';
export { type ContrastiveSearchOptions, contrastiveSearch } from './contrastive-search.js';
export { type DiverseBeamSearchOptions, diverseBeamSearch } from './diverse-beam-search.js';
export {
  type SearchCompletion,
  SearchGenerator,
  type SearchGeneratorOptions,
  type SearchMethod,
} from './search-generator.js';
export { NoContinuationError, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';
