export { ApiError } from './api-error.js';
export { embeddingModel, type LocalModel, type LocalModelsOptions, localModels } from './local-models.js';
export { serveCommand } from './serve-command.js';
export type {
  ChatInput,
  CompletionEvent,
  CompletionRequest,
  OutputConstraint,
  PromptLogProb,
  ServedModel,
  TokenLogProb,
} from './served-model.js';
export { createServer, type ListenOptions, type ModelServer, type ServeOptions } from './server.js';
