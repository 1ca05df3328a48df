import type {
  LanguageModelV3CallOptions,
  LanguageModelV3Message,
  LanguageModelV3Prompt,
  LanguageModelV3ToolResultOutput,
  SharedV3Warning,
} from '@ai-sdk/provider';
import { type ChatMessage, PosttrainError } from '@posttrain/interfaces';
import type { JsonObject } from '@posttrain/lm';
import type { ChatTurnRequest } from '../chat-turn.js';

/** A call of the AI SDK as a turn of a conversation, and what of it could not be taken over. */
export function turnRequestOf(options: LanguageModelV3CallOptions): {
  readonly request: ChatTurnRequest;
  readonly warnings: SharedV3Warning[];
} {
  const { prompt, tools = [], toolChoice, responseFormat } = options;
  const functions = tools.flatMap((tool) => (tool.type === 'function' ? [tool] : []));
  const warnings = tools
    .filter(({ type }) => type === 'provider')
    .map(({ name }): SharedV3Warning => ({ type: 'unsupported', feature: `provider-defined tool ${name}` }));
  const isJson = responseFormat?.type === 'json';
  const schema = isJson ? ((responseFormat.schema as JsonObject | undefined) ?? { type: 'object' }) : undefined;
  const request: ChatTurnRequest = {
    messages: messagesOf(prompt),
    tools: functions.map(({ name, description, inputSchema }) => ({
      type: 'function',
      function: { name, ...(description === undefined ? {} : { description }), parameters: inputSchema },
    })),
    toolChoice: toolChoice?.type === 'tool' ? { name: toolChoice.toolName } : (toolChoice?.type ?? 'auto'),
    parallelToolCalls: true,
    ...(schema ? { constraint: { type: 'json-schema', schema } } : {}),
  };
  return { request, warnings };
}

/** The prompt as chat templates take it. @throws PosttrainError for files, which language models here do not read */
export const messagesOf = (prompt: LanguageModelV3Prompt): ChatMessage[] => prompt.flatMap(messageOf);

function messageOf(message: LanguageModelV3Message): ChatMessage[] {
  if (message.role === 'system') return [{ role: 'system', content: message.content }];
  const { content } = message;
  const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const file = content.find((part) => part.type === 'file');
  if (file)
    throw new PosttrainError(
      'UNSUPPORTED_CONTENT',
      `posttrain: the prompt has a file (${file.mediaType}); models here read text only`,
    );
  if (message.role === 'user') return [{ role: 'user', content: text }];
  if (message.role === 'tool') {
    return message.content.flatMap((part): ChatMessage[] =>
      part.type === 'tool-result'
        ? [{ role: 'tool', content: resultText(part.output), name: part.toolName, tool_call_id: part.toolCallId }]
        : [],
    );
  }
  const calls = message.content.flatMap((part) =>
    part.type === 'tool-call'
      ? [{ id: part.toolCallId, type: 'function', function: { name: part.toolName, arguments: part.input } }]
      : [],
  );
  const reasoning = message.content.map((part) => (part.type === 'reasoning' ? part.text : '')).join('');
  return [
    {
      role: 'assistant',
      content: text,
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    },
  ];
}

function resultText(output: LanguageModelV3ToolResultOutput): string {
  switch (output.type) {
    case 'text':
    case 'error-text':
      return output.value;
    case 'execution-denied':
      return output.reason ?? 'The call was denied.';
    case 'json':
    case 'error-json':
      return JSON.stringify(output.value);
    case 'content':
      return output.value
        .map((part) => {
          if (part.type === 'text') return part.text;
          throw new PosttrainError(
            'UNSUPPORTED_CONTENT',
            `posttrain: a tool's result has a part "${part.type}"; models here read text only`,
          );
        })
        .join('\n');
  }
}
