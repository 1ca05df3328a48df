export { ApiError } from './api-error.js';
export { embeddingModel, type LocalModel, type LocalModelsOptions, localModels, toolFormatOf } from './local-models.js';
export { REASONING_PARSERS, type ReasoningParserName } from './reasoning.js';
export type {
  ChatInput,
  CompletionEvent,
  CompletionRequest,
  OutputConstraint,
  ServedModel,
  TokenLogProb,
  ToolFormat,
} from './served-model.js';
export { createServer, type ListenOptions, type ModelServer, type ServeOptions } from './server.js';
