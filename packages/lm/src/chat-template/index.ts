export { parseJsonText } from '../jinja/index.js';
export type { RenderChatOptions, RenderedChat } from './chat-template.js';
export { ChatTemplate } from './chat-template.js';
export { AssistantMaskError, ChatTemplateError } from './errors.js';
export { hasGenerationMarkers } from './jinja-template.js';
export type { ChatTemplates } from './load-chat-templates.js';
